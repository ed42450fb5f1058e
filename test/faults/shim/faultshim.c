/*
 * A preloaded library that counts every call by which a program and its children change files below one folder,
 * and does harm at one of them.
 *
 *   FS_ROOT    counts calls on paths below this folder
 *   FS_SOCKET  counts what is sent to UNIX sockets below this folder too
 *   FS_COUNT   a file of at least 16 KiB, shared by all processes: `struct shared` below
 *   FS_LOG     where a line for each counted call is appended; FS_DATA=1 adds the bytes that were written
 *
 * Who started them writes into that file at which call what harm is done: the ordinal `at` (0 for none), and `act`, one of
 * kill | sigN | epipe | short | cut | full | short-full | rofs | the number of an error. It can do so again later.
 *
 * `kill` ends every process that has the library, before the call. `sigN` sends signal N to the first of them, which
 * goes on with the call. `epipe` lets nobody read its two outputs any more, from then on. `full` and `rofs` last from then on: a full disk
 * still lets names go, a read-only one nothing. `short` writes half. `cut` sends and then closes the connection.
 *
 * Not seen: static programs, calls that libc makes inside itself (stdio), raw instructions, io_uring, mapped memory.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MOST_PROCESSES 500
#define SHORT (-1)
#define CUT (-2)

struct process { pid_t pid; unsigned long long started; };
static struct shared {
  uint64_t count, fired, at, is_logging;
  char act[16];
  uint64_t processes;
  struct process list[MOST_PROCESSES];
} *shared;

static char root[PATH_MAX], sockets[PATH_MAX];
static size_t root_length, sockets_length;
static int log_fd = -1, with_data, is_first;

/* Fields 22 of /proc/PID/stat: a number that was given to another process meanwhile is not killed. */
static unsigned long long started(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  char *field = strrchr(text, ')');
  for (int i = 2; field != NULL && i < 22; i++) field = strchr(field + 1, ' ');
  return field == NULL ? 0 : strtoull(field + 1, NULL, 10);
}

static long raw(long number, long a, long b, long c, long d, long e, long f) {
  static long (*real)(long, ...);
  if (real == NULL) real = dlsym(RTLD_NEXT, "syscall");
  return real(number, a, b, c, d, e, f);
}

__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("FS_ROOT"), *count = getenv("FS_COUNT"), *text;
  if (folder == NULL || count == NULL || realpath(folder, root) == NULL) return;
  root_length = strlen(root);
  if ((text = getenv("FS_SOCKET")) != NULL && realpath(text, sockets) != NULL) sockets_length = strlen(sockets);
  with_data = getenv("FS_DATA") != NULL;
  if ((text = getenv("FS_LOG")) != NULL)
    log_fd = (int)raw(SYS_openat, AT_FDCWD, (long)text, O_WRONLY | O_APPEND | O_CLOEXEC, 0, 0, 0);
  int fd = (int)raw(SYS_openat, AT_FDCWD, (long)count, O_RDWR | O_CLOEXEC, 0, 0, 0);
  if (fd < 0) return;
  void *map = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (map == MAP_FAILED) return;
  shared = map;
  uint64_t slot = __atomic_fetch_add(&shared->processes, 1, __ATOMIC_SEQ_CST);
  is_first = slot == 0;
  if (slot < MOST_PROCESSES) shared->list[slot] = (struct process){getpid(), started(getpid())};
}

static void kill_all(void) {
  uint64_t most = shared->processes < MOST_PROCESSES ? shared->processes : MOST_PROCESSES;
  for (uint64_t i = 0; i < most; i++) {
    struct process one = shared->list[i];
    if (one.pid > 0 && one.pid != getpid() && one.started != 0 && started(one.pid) == one.started)
      kill(one.pid, SIGKILL);
  }
  for (;;) kill(getpid(), SIGKILL);
}

/* The reader of both outputs has gone: what the first process writes there from now on ends in EPIPE. */
static void lose_readers(void) {
  static int lost;
  int ends[2];
  if (lost || getpid() != shared->list[0].pid || pipe(ends) != 0) return;
  lost = 1;
  close(ends[0]);
  dup2(ends[1], STDOUT_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
}

/* ---- what a call is about ---- */

static int below(const char *path) {
  return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

static int path_of_fd(int fd, char *out) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, out, PATH_MAX - 1);
  if (length <= 0) return 0;
  out[length] = 0;
  return 1;
}

/* The canonical name, the last part as it is: that is what the call changes. */
static int resolve(int dirfd, const char *path, char *out) {
  char full[PATH_MAX * 2], folder[PATH_MAX];
  int number, end = 0;
  if (path == NULL) return 0;
  if (sscanf(path, "/proc/self/fd/%d%n", &number, &end) == 1 && path[end] == 0) return path_of_fd(number, out);
  if (path[0] == '/') snprintf(full, sizeof full, "%s", path);
  else {
    if (dirfd == AT_FDCWD ? getcwd(folder, sizeof folder) == NULL : !path_of_fd(dirfd, folder)) return 0;
    snprintf(full, sizeof full, "%s/%s", folder, path);
  }
  char *slash = strrchr(full, '/');
  *slash = 0;
  if (realpath(full[0] == 0 ? "/" : full, folder) == NULL) return 0;
  int written = snprintf(out, PATH_MAX, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, slash + 1);
  return written > 0 && written < PATH_MAX;
}

static int is_database_socket(int fd) {
  struct sockaddr_un peer;
  socklen_t length = sizeof peer;
  memset(&peer, 0, sizeof peer);
  if (sockets_length == 0 || getpeername(fd, (struct sockaddr *)&peer, &length) != 0) return 0;
  return peer.sun_family == AF_UNIX && strncmp(peer.sun_path, sockets, sockets_length) == 0;
}

struct call {
  uint64_t n; /* 0: not counted */
  const char *kind;
  char path[PATH_MAX], other[PATH_MAX];
  long long offset, length;
  const char *bytes;
  int fd;
};

static int is_write(const char *kind) { return strcmp(kind, "write") == 0 || strcmp(kind, "send") == 0; }

static int frees_only(const char *kind) {
  static const char *const kinds[] = {"unlink", "rmdir", "rename", "fsync", "chmod", "chown", "open"};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kind, kinds[i]) == 0) return 1;
  return 0;
}

/* 0: go on. More: the error to give. Less: SHORT or CUT. */
static int harm(struct call *call) {
  const char *act = shared->act;
  uint64_t at = shared->at;
  call->n = __atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST);
  if (at == 0 || call->n < at) return 0;
  int first = call->n == at, full = strcmp(act, "full") == 0, half = strcmp(act, "short-full") == 0;
  if (first) shared->fired = at;
  if (strcmp(act, "kill") == 0 && first) kill_all();
  if (strncmp(act, "sig", 3) == 0) {
    if (first) kill(shared->list[0].pid, atoi(act + 3));
    return 0;
  }
  if (strcmp(act, "epipe") == 0) {
    lose_readers();
    return 0;
  }
  if (strcmp(act, "rofs") == 0) return strcmp(call->kind, "send") == 0 ? 0 : EROFS;
  if ((strcmp(act, "short") == 0 || half) && first) return is_write(call->kind) ? SHORT : 0;
  if (full || half) return frees_only(call->kind) || strcmp(call->kind, "send") == 0 ? 0 : ENOSPC;
  if (strcmp(act, "cut") == 0 && first) return CUT;
  return first ? atoi(act) : 0;
}

static int on_fd(struct call *call, const char *kind, int fd, int dont_care_for_type) {
  struct stat facts;
  int saved = errno;
  call->n = 0;
  call->kind = kind;
  call->other[0] = 0;
  call->offset = call->length = -1;
  call->bytes = NULL;
  call->fd = fd;
  int verdict = 0;
  if (shared != NULL && fstat(fd, &facts) == 0) {
    int file = S_ISREG(facts.st_mode) || (dont_care_for_type && S_ISDIR(facts.st_mode));
    if (file && path_of_fd(fd, call->path) && below(call->path)) verdict = harm(call);
    else if (S_ISSOCK(facts.st_mode) && is_write(kind) && is_database_socket(fd)) {
      call->kind = "send";
      snprintf(call->path, sizeof call->path, "socket");
      verdict = harm(call);
    }
  }
  errno = saved;
  return verdict;
}

static int on_path(struct call *call, const char *kind, int dirfd, const char *path, int otherfd, const char *other) {
  int saved = errno, verdict = 0;
  call->n = 0;
  call->kind = kind;
  call->path[0] = call->other[0] = 0;
  call->offset = call->length = -1;
  call->bytes = NULL;
  call->fd = -1;
  if (shared != NULL) {
    int here = resolve(dirfd, path, call->path) && below(call->path);
    int there = other != NULL && resolve(otherfd, other, call->other) && below(call->other);
    if (here || there) verdict = harm(call);
  }
  errno = saved;
  return verdict;
}

/* ---- the log: `n kind dev:ino mode:uid:gid offset length result path other bytes`, with tabs between ---- */

static void note(struct call *call, long long result) {
  if (log_fd < 0 || call->n == 0 || !shared->is_logging) return;
  int saved = errno;
  struct stat facts;
  memset(&facts, 0, sizeof facts);
  const char *named = call->other[0] != 0 ? call->other : call->path;
  if (call->fd >= 0 ? fstat(call->fd, &facts) != 0 : lstat(named, &facts) != 0) memset(&facts, 0, sizeof facts);
  size_t bytes = with_data && call->bytes != NULL && result > 0 ? (size_t)result : 0;
  size_t room = PATH_MAX * 2 + 256 + bytes * 2;
  char *line = malloc(room);
  if (line == NULL) return;
  int used = snprintf(line, room, "%llu\t%s\t%llx:%llu\t%o:%u:%u\t%lld\t%lld\t%lld\t%s\t%s\t",
                      (unsigned long long)call->n, call->kind, (unsigned long long)facts.st_dev,
                      (unsigned long long)facts.st_ino, facts.st_mode, facts.st_uid, facts.st_gid, call->offset,
                      call->length, result, call->path, call->other);
  for (size_t i = 0; i < bytes; i++) {
    static const char digits[] = "0123456789abcdef";
    line[used++] = digits[(unsigned char)call->bytes[i] >> 4];
    line[used++] = digits[(unsigned char)call->bytes[i] & 15];
  }
  line[used++] = '\n';
  raw(SYS_write, log_fd, (long)line, used, 0, 0, 0);
  free(line);
  errno = saved;
}

#define REAL(name) \
  static __typeof__(&name) real; \
  if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define FAIL_OR(call, verdict, expression) \
  do { \
    if ((verdict) > 0) { \
      errno = (verdict); \
      note(&(call), -1); \
      errno = (verdict); \
      return -1; \
    } \
    __typeof__(expression) result = (expression); \
    note(&(call), (long long)result); \
    return result; \
  } while (0)

/* ---- opening ---- */

static int changes(int flags) { return (flags & (O_CREAT | O_TRUNC)) != 0 && (flags & O_TMPFILE) != O_TMPFILE; }

static int opening(struct call *call, int dirfd, const char *path, int flags) {
  struct stat facts;
  char name[PATH_MAX];
  int saved = errno;
  int there = shared != NULL && resolve(dirfd, path, name) && lstat(name, &facts) == 0;
  errno = saved;
  const char *kind = !there ? "creat" : (flags & O_TRUNC) != 0 ? "trunc" : "open";
  return on_path(call, kind, dirfd, path, -1, NULL);
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    va_list list; \
    va_start(list, flags); \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0; \
    va_end(list); \
    if (!changes(flags)) return real(path, flags, mode); \
    struct call call; \
    int verdict = opening(&call, AT_FDCWD, path, flags); \
    FAIL_OR(call, verdict, real(path, flags, mode)); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
  int name(int dirfd, const char *path, int flags, ...) { \
    REAL(name); \
    va_list list; \
    va_start(list, flags); \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0; \
    va_end(list); \
    if (!changes(flags)) return real(dirfd, path, flags, mode); \
    struct call call; \
    int verdict = opening(&call, dirfd, path, flags); \
    FAIL_OR(call, verdict, real(dirfd, path, flags, mode)); \
  }
OPENAT(openat)
OPENAT(openat64)

#define CREAT(name) \
  int name(const char *path, mode_t mode) { \
    REAL(name); \
    struct call call; \
    int verdict = opening(&call, AT_FDCWD, path, O_CREAT | O_TRUNC); \
    FAIL_OR(call, verdict, real(path, mode)); \
  }
CREAT(creat)
CREAT(creat64)

/* ---- writing ---- */

/* The offset at which a write without one begins. */
static long long position(int fd) {
  int saved = errno;
  struct stat facts;
  int flags = fcntl(fd, F_GETFL);
  long long place = lseek(fd, 0, SEEK_CUR);
  if (flags >= 0 && (flags & O_APPEND) != 0 && fstat(fd, &facts) == 0) place = facts.st_size;
  errno = saved;
  return place;
}

/* half: how many bytes a short write takes; a single one can't be halved. */
static size_t half(size_t length) { return length > 1 ? length / 2 : length; }

ssize_t write(int fd, const void *bytes, size_t length) {
  REAL(write);
  struct call call;
  int verdict = on_fd(&call, "write", fd, 0);
  if (call.n == 0) return real(fd, bytes, length);
  call.bytes = bytes;
  call.length = (long long)length;
  call.offset = position(fd);
  if (verdict == CUT) {
    ssize_t sent = real(fd, bytes, length);
    shutdown(fd, SHUT_RDWR);
    return sent;
  }
  FAIL_OR(call, verdict, real(fd, bytes, verdict == SHORT ? half(length) : length));
}

#define PWRITE(name, type) \
  ssize_t name(int fd, const void *bytes, size_t length, type offset) { \
    REAL(name); \
    struct call call; \
    int verdict = on_fd(&call, "write", fd, 0); \
    call.bytes = bytes; \
    call.length = (long long)length; \
    call.offset = (long long)offset; \
    FAIL_OR(call, verdict, real(fd, bytes, verdict == SHORT ? half(length) : length, offset)); \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Several buffers as one, so that the log holds what was written. */
static char *joined(const struct iovec *parts, int count, size_t *length) {
  *length = 0;
  for (int i = 0; i < count; i++) *length += parts[i].iov_len;
  char *bytes = malloc(*length + 1), *next = bytes;
  if (bytes == NULL) return NULL;
  for (int i = 0; i < count; i++) {
    memcpy(next, parts[i].iov_base, parts[i].iov_len);
    next += parts[i].iov_len;
  }
  return bytes;
}

/* offset < 0: at the file's own position. */
static ssize_t gather(struct call *call, int verdict, int fd, const struct iovec *parts, int count, long long offset) {
  size_t length;
  if (verdict > 0) {
    errno = verdict;
    return -1;
  }
  char *bytes = joined(parts, count, &length);
  if (bytes == NULL) {
    errno = ENOMEM;
    return -1;
  }
  call->offset = offset < 0 ? position(fd) : offset;
  call->length = (long long)length;
  call->bytes = bytes;
  size_t some = verdict == SHORT ? half(length) : length;
  ssize_t result = offset < 0 ? raw(SYS_write, fd, (long)bytes, (long)some, 0, 0, 0)
                              : raw(SYS_pwrite64, fd, (long)bytes, (long)some, (long)offset, 0, 0);
  if (verdict == CUT) shutdown(fd, SHUT_RDWR);
  note(call, result);
  int saved = errno;
  free(bytes);
  errno = saved;
  return result;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  struct call call;
  int verdict = on_fd(&call, "write", fd, 0);
  return call.n == 0 ? real(fd, parts, count) : gather(&call, verdict, fd, parts, count, -1);
}

#define PWRITEV(name, type) \
  ssize_t name(int fd, const struct iovec *parts, int count, type offset) { \
    REAL(name); \
    struct call call; \
    int verdict = on_fd(&call, "write", fd, 0); \
    return call.n == 0 ? real(fd, parts, count, offset) : gather(&call, verdict, fd, parts, count, offset); \
  }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  REAL(sendmsg);
  struct call call;
  int verdict = on_fd(&call, "send", fd, 0);
  if (call.n == 0) return real(fd, message, flags);
  if (verdict > 0) {
    errno = verdict;
    return -1;
  }
  ssize_t result = real(fd, message, flags);
  if (verdict == CUT) shutdown(fd, SHUT_RDWR);
  note(&call, result);
  return result;
}

#define COPY(name, signature, arguments, to) \
  ssize_t name signature { \
    REAL(name); \
    struct call call; \
    int verdict = on_fd(&call, "copy", to, 0); \
    FAIL_OR(call, verdict, real arguments); \
  }
COPY(sendfile, (int out, int in, off_t *offset, size_t count), (out, in, offset, count), out)
COPY(sendfile64, (int out, int in, off64_t *offset, size_t count), (out, in, offset, count), out)
COPY(copy_file_range, (int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags),
     (in, from, out, to, count, flags), out)

/* ---- what is done to an open file ---- */

#define ON_FD(name, kind, signature, arguments) \
  int name signature { \
    REAL(name); \
    struct call call; \
    int verdict = on_fd(&call, kind, fd, 1); \
    FAIL_OR(call, verdict, real arguments); \
  }
ON_FD(fsync, "fsync", (int fd), (fd))
ON_FD(fdatasync, "fsync", (int fd), (fd))
ON_FD(fchmod, "chmod", (int fd, mode_t mode), (fd, mode))
ON_FD(fchown, "chown", (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
ON_FD(fsetxattr, "xattr", (int fd, const char *name, const void *value, size_t size, int flags),
      (fd, name, value, size, flags))
ON_FD(fremovexattr, "xattr", (int fd, const char *name), (fd, name))
ON_FD(fallocate, "fallocate", (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
ON_FD(fallocate64, "fallocate", (int fd, int mode, off64_t offset, off64_t length), (fd, mode, offset, length))

#define TRUNCATE(name, type) \
  int name(int fd, type length) { \
    REAL(name); \
    struct call call; \
    int verdict = on_fd(&call, "size", fd, 0); \
    call.length = (long long)length; \
    FAIL_OR(call, verdict, real(fd, length)); \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* ---- what is done to a name ---- */

#define ON_PATH(name, kind, signature, arguments, dirfd, path) \
  int name signature { \
    REAL(name); \
    struct call call; \
    int verdict = on_path(&call, kind, dirfd, path, -1, NULL); \
    FAIL_OR(call, verdict, real arguments); \
  }
ON_PATH(unlink, "unlink", (const char *path), (path), AT_FDCWD, path)
ON_PATH(remove, "unlink", (const char *path), (path), AT_FDCWD, path)
ON_PATH(unlinkat, (flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink", (int dirfd, const char *path, int flags),
        (dirfd, path, flags), dirfd, path)
ON_PATH(rmdir, "rmdir", (const char *path), (path), AT_FDCWD, path)
ON_PATH(mkdir, "mkdir", (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_PATH(mkdirat, "mkdir", (int dirfd, const char *path, mode_t mode), (dirfd, path, mode), dirfd, path)
ON_PATH(symlink, "symlink", (const char *target, const char *path), (target, path), AT_FDCWD, path)
ON_PATH(chmod, "chmod", (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_PATH(fchmodat, "chmod", (int dirfd, const char *path, mode_t mode, int flags), (dirfd, path, mode, flags), dirfd,
        path)
ON_PATH(chown, "chown", (const char *path, uid_t uid, gid_t gid), (path, uid, gid), AT_FDCWD, path)
ON_PATH(lchown, "chown", (const char *path, uid_t uid, gid_t gid), (path, uid, gid), AT_FDCWD, path)
ON_PATH(fchownat, "chown", (int dirfd, const char *path, uid_t uid, gid_t gid, int flags),
        (dirfd, path, uid, gid, flags), dirfd, path)
ON_PATH(truncate, "trunc", (const char *path, off_t length), (path, length), AT_FDCWD, path)
ON_PATH(truncate64, "trunc", (const char *path, off64_t length), (path, length), AT_FDCWD, path)
ON_PATH(setxattr, "xattr", (const char *path, const char *name, const void *value, size_t size, int flags),
        (path, name, value, size, flags), AT_FDCWD, path)
ON_PATH(lsetxattr, "xattr", (const char *path, const char *name, const void *value, size_t size, int flags),
        (path, name, value, size, flags), AT_FDCWD, path)

#define ON_TWO(name, kind, signature, arguments, fromfd, from, tofd, to) \
  int name signature { \
    REAL(name); \
    struct call call; \
    int verdict = on_path(&call, kind, fromfd, from, tofd, to); \
    FAIL_OR(call, verdict, real arguments); \
  }
ON_TWO(rename, "rename", (const char *from, const char *to), (from, to), AT_FDCWD, from, AT_FDCWD, to)
ON_TWO(renameat, "rename", (int fromfd, const char *from, int tofd, const char *to), (fromfd, from, tofd, to), fromfd,
       from, tofd, to)
ON_TWO(renameat2, (flags & RENAME_EXCHANGE) != 0 ? "exchange" : "rename",
       (int fromfd, const char *from, int tofd, const char *to, unsigned flags), (fromfd, from, tofd, to, flags),
       fromfd, from, tofd, to)
ON_TWO(link, "link", (const char *from, const char *to), (from, to), AT_FDCWD, from, AT_FDCWD, to)
ON_TWO(linkat, "link", (int fromfd, const char *from, int tofd, const char *to, int flags),
       (fromfd, from, tofd, to, flags), fromfd, from, tofd, to)

/* perl and libuv reach the newer calls by their number. */
long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  if (shared != NULL && number == SYS_renameat2)
    return renameat2((int)a[0], (const char *)a[1], (int)a[2], (const char *)a[3], (unsigned)a[4]);
  if (shared != NULL && number == SYS_copy_file_range)
    return copy_file_range((int)a[0], (off64_t *)a[1], (int)a[2], (off64_t *)a[3], (size_t)a[4], (unsigned)a[5]);
  return raw(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- speed ---- */

/*
 * What Node maps for its heap is of no use to a child between fork and exec: a fork without these pages is quicker.
 * The C library's own mappings, stacks and what malloc gives among them, do not come through here.
 */
void *mmap(void *address, size_t length, int access, int flags, int fd, off_t offset) {
  void *map = (void *)raw(SYS_mmap, (long)address, (long)length, access, flags, fd, offset);
  if (is_first && map != MAP_FAILED && (flags & (MAP_ANONYMOUS | MAP_PRIVATE)) == (MAP_ANONYMOUS | MAP_PRIVATE))
    madvise(map, length, MADV_DONTFORK);
  return map;
}

void *mmap64(void *address, size_t length, int access, int flags, int fd, off_t offset) {
  return mmap(address, length, access, flags, fd, offset);
}
