/** Variables of this process that a program gets, by their names; those that are not set are left out. */
export function chosenVariables(names: readonly string[]): Readonly<Record<string, string>> {
  const given = names.map((name) => [name, process.env[name]] as const)
  return Object.fromEntries(given.filter((pair): pair is [string, string] => pair[1] !== undefined))
}

/** Every variable of this process, for a program that the operator names and would as well run before a pipe. */
export function wholeEnvironment(): Readonly<Record<string, string>> {
  return chosenVariables(Object.keys(process.env))
}
