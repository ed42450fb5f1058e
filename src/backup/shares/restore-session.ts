import { missingText, type Rebuilt, recombine, requireFits } from '../../core/share/recombine.ts'
import type { Share } from '../../core/share/share-text.ts'
import { requireDealt } from './examine.ts'
import type { ShareSet } from './share-set.ts'

/**
 * The shares of one restore, each checked the moment it is entered: its set, whether it was given already, and
 * with a manifest whether it is the very share that was dealt. Nothing of it is ever written anywhere.
 */
export class RestoreSession {
  readonly #shares: Share[] = []
  readonly #known: readonly ShareSet[]
  #set: ShareSet | undefined

  /**
   * @param set the manifest that was named: shares of other sets are refused
   * @param known manifests of which one is taken when the first share names its set
   */
  constructor(set: ShareSet | undefined, known: readonly ShareSet[] = []) {
    this.#set = set
    this.#known = known
  }

  /**
   * Takes a share over; `wipe` ends it. One that is refused is wiped at once.
   * @throws KvxError BACKUP_UNUSABLE naming the share and what is wrong
   */
  add(share: Share): void {
    try {
      requireFits(share, this.#shares)
      const set = this.#set ?? this.#known.find((one) => one.set === share.setId)
      if (set !== undefined) requireDealt(share, set)
      this.#set = set
    } catch (error) {
      share.point.wipe()
      throw error
    }
    this.#shares.push(share)
  }

  has(index: number): boolean {
    return this.#shares.some((share) => share.index === index)
  }

  /** Shares with these indices; lent until `wipe`. */
  quorum(indices: readonly number[]): readonly Share[] {
    return this.#shares.filter(({ index }) => indices.includes(index))
  }

  get count(): number {
    return this.#shares.length
  }

  /** The manifest that the shares are judged by, where there is one. */
  get set(): ShareSet | undefined {
    return this.#set
  }

  get setId(): string | undefined {
    return this.#set?.set ?? this.#shares[0]?.setId
  }

  /** The check value that the shares name. */
  get checkValue(): string | undefined {
    return this.#set?.checkValue ?? this.#shares[0]?.checkValue
  }

  get isEnough(): boolean {
    const numbers = this.#set ?? this.#shares[0]
    return numbers !== undefined && this.#shares.length >= numbers.threshold
  }

  /** True when there is no other share that could be given. */
  get isAll(): boolean {
    const numbers = this.#set ?? this.#shares[0]
    return numbers !== undefined && this.#shares.length >= numbers.of
  }

  /** `have 1, 4; need 1 more of 2, 3, 5`, with custodians where the manifest names them. */
  status(): string {
    const numbers = this.#set ?? this.#shares[0]
    return numbers === undefined ? 'have none' : missingText(numbers, this.#shares)
  }

  /** Custodians who did not give their share yet. */
  missingCustodians(): readonly string[] {
    const given = new Set(this.#shares.map(({ index }) => index))
    return (this.#set?.shares ?? [])
      .filter(({ index }) => !given.has(index))
      .map(({ index, custodian }) => `${index} ${custodian}`)
  }

  /**
   * The key, compared with the full fingerprint where it is known, else with the check value of the shares.
   * @throws KvxError FINGERPRINT_DIFFERS, SHARE_MISSING for too few
   */
  async rebuild(fingerprint: string | undefined): Promise<Rebuilt> {
    return recombine(this.#shares, fingerprint)
  }

  wipe(): void {
    for (const { point } of this.#shares.splice(0)) point.wipe()
  }
}
