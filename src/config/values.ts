import { z } from 'zod'
import { parseSshPublicKey } from '../core/ssh-signature.ts'

/** Kinds of values that several sections of `kvx.yaml` have. */

export const duration = z
  .string()
  .regex(/^\d{1,5}[smhdy]$/, 'a duration is a number and a unit: 30s, 5m, 2h, 7d, 3y')

export const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i, 'a name has letters, digits, dot, dash and underscore, 64 at most')

export const program = z
  .array(z.string().min(1))
  .min(1)
  .refine(([first]) => first?.startsWith('/') === true, 'a program is named by its absolute path')

export const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'not a name of a variable')

export const sshPublicKey = z
  .string()
  .refine(
    (line) => parseSshPublicKey(line) !== undefined,
    'not the public key of an SSH key that may sign: the line of a .pub file, RSA with 2048 bits at least',
  )
