/** What each exit code means, for the documents. */
export const exitMeanings: Readonly<Record<number, string>> = {
  0: 'done, or nothing to do',
  1: 'a bug in kvx',
  2: 'usage or configuration; something named does not exist; a target exists already',
  3: 'finished, with findings',
  4: 'finished in part: records set aside or a writer still active; the run can be resumed',
  5: 'cryptographic refusal: wrong key, tampered, damaged, fingerprint differs',
  6: 'a gate or a safety rule refused',
  7: 'an approval or a share is missing, or a plan differs from what was approved',
  8: 'locked: another run is at work',
  9: 'something needed did not answer or is missing',
  10: 'interrupted; consistent; the message gives the command that resumes',
  130: 'stopped at a prompt with Ctrl-C',
}
