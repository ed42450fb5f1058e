import type { Bound, Computation, Parameter } from './computed.ts'
import { isSequence, outside } from './computed.ts'
import { nearest } from './nearest.ts'
import type { SourceText } from './source-text.ts'
import type { Argument, CallNode } from './syntax.ts'

/** What a function takes. */
export type Signature = Pick<Computation, 'parameters' | 'limit'>

/** How the checker gives meaning to one argument. */
export type Binding = {
  readonly source: SourceText
  /** True where `key` is known: then it stands for what is not written. */
  readonly hasKey: boolean
  bind(parameter: Parameter, argument: Argument): Bound
  key(): Bound
}

/**
 * Gives each parameter of a function its argument.
 * @throws LAYOUT_INVALID for unknown, missing and repeated ones, and for numbers that cost too much
 */
export function bindArguments(
  node: CallNode,
  computation: Signature,
  binding: Binding,
): ReadonlyMap<string, Bound> {
  const bound = new Map<string, Bound>()
  const inOrder = computation.parameters.filter((parameter) => parameter.inOrder)
  let unnamed = 0
  for (const argument of node.args) {
    const parameter =
      argument.name === undefined
        ? (inOrder[unnamed++] ?? refuseMore(node, argument, computation, binding.source))
        : parameterNamed(node, argument, computation, binding.source)
    if (bound.has(parameter.name)) {
      const message = `${parameter.name} of ${node.name} stands here a second time`
      throw binding.source.error(argument, message, 'leave one of them out')
    }
    const one = binding.bind(parameter, argument)
    const fault =
      parameter.takes === 'number' && typeof one === 'number' ? outside(parameter, one) : undefined
    if (fault !== undefined) throw tooMuch(argument, parameter, fault, binding.source)
    bound.set(parameter.name, one)
  }
  addOthers(node, computation, binding, bound)
  checkLimit(node, computation, binding.source, bound)
  return bound
}

function parameterNamed(
  node: CallNode,
  argument: Argument,
  { parameters }: Signature,
  source: SourceText,
): Parameter {
  const found = parameters.find((parameter) => parameter.name === argument.name)
  if (found !== undefined) return found
  const names = parameters.map((parameter) => parameter.name)
  const span = { start: argument.start, end: argument.start + (argument.name ?? '').length }
  const like = nearest(argument.name ?? '', names)
  const hint = `write ${like === undefined ? names.join(', ') : `${like}=`}`
  throw source.error(span, `${node.name} has no argument named ${argument.name}`, hint)
}

function refuseMore(
  node: CallNode,
  argument: Argument,
  { parameters }: Signature,
  source: SourceText,
): never {
  const hint = `write ${usage(node.name, parameters)}, and spaces between items that follow each other`
  throw source.error(argument, `${node.name} has no place for this argument`, hint)
}

/** `hkdf-sha256(data, salt=…, info=…, length=…)` */
function usage(name: string, parameters: readonly Parameter[]): string {
  const written = parameters.map((parameter) => (parameter.inOrder ? parameter.name : `${parameter.name}=…`))
  return `${name}(${written.join(', ')})`
}

function addOthers(
  node: CallNode,
  { parameters }: Signature,
  binding: Binding,
  bound: Map<string, Bound>,
): void {
  for (const { name, otherwise } of parameters) {
    if (bound.has(name) || otherwise === 'none') continue
    if (typeof otherwise === 'number') bound.set(name, otherwise)
    else if (otherwise === 'key' && binding.hasKey) bound.set(name, binding.key())
    else {
      const message = `${node.name} lacks its ${name}`
      throw binding.source.error(node.nameSpan, message, `write ${usage(node.name, parameters)}`)
    }
  }
}

/** Numbers of columns are checked when they are known. */
function checkLimit(
  node: CallNode,
  computation: Signature,
  source: SourceText,
  bound: ReadonlyMap<string, Bound>,
): void {
  const all = [...bound.values()].every((one) => isSequence(one) || typeof one === 'number')
  if (!all || computation.limit === undefined) return
  const limit = computation.limit((name) => {
    const one = bound.get(name)
    return typeof one === 'number' ? one : 0
  })
  if (limit !== undefined) {
    throw source.error(node, `${node.name}: ${limit}`, 'write the numbers that the application uses')
  }
}

function tooMuch(argument: Argument, parameter: Parameter, fault: string, source: SourceText): Error {
  const value = argument.value.items[0] ?? argument
  const hint = 'write the number that the application uses: larger ones would hang or exhaust the machine'
  return source.error(value, `${parameter.name} ${fault}`, hint)
}
