#!/bin/sh
# Before and after an application with sealed data goes into production. Each point is a command: what ends in 0 is
# done. Nothing here writes, and no key is shown.
set -u
open=0

point() {
  what=$1
  shift
  if said=$("$@" 2>&1 < /dev/null); then
    printf 'done  %s\n' "$what"
  else
    printf 'OPEN  %s\n' "$what"
    printf '%s\n' "$said" | tail -n 3 | sed 's/^/        /'
    open=$((open + 1))
  fi
}

kvx() {
  command "@kvx@" "$@" --config "@config@" --no-input
}

has() {
  kvx status --json | grep -q "$1"
}

lacks() {
  ! kvx status --json | grep -q "$1"
}

echo 'Before'
point 'there is a key, and its file, fingerprint and canary agree' kvx key show "@key@"
point 'it is 32 random bytes, in files that nobody else can read' kvx doctor
point 'a backup was opened, or confirmed by who can open it' has '"backedUp": true'
point 'a rotation is scheduled: the key has a cryptoperiod' lacks '"sealUntil": null'
point 'the log is whole' kvx audit verify

echo 'Deployment'
point 'the key lies where the application reads it' lacks PUBLICATION_DIFFERS
point 'every record opens under the declared chain' kvx verify --progress none
[ "@smoke@" = none ] || point 'the application writes and reads a secret' "@smoke@"
point 'alerts have numbers to look at' kvx metrics --quiet

echo 'Afterwards'
[ "@look@" = none ] || point 'no key was left lying in @look@' kvx check --recursive --untracked "@look@" --only format,secrets,manifest
point 'no run is left unfinished' lacks RUN_OPEN
point 'nothing else is due' kvx status --due --quiet

echo
if [ "$open" -eq 0 ]; then
  echo 'nothing is open'
else
  echo "open: $open"
fi
exit "$open"
