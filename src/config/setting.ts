import { z } from 'zod'
import type { Kind } from './kinds.ts'

/** What is declared of a setting beside its kind. Texts are Markdown, with links as of a page in `docs/reference/`. */
interface Declaration {
  readonly description: string
  /** States the default in the documentation where it is not one text. */
  readonly defaultNote?: string
  /** A secret is never quoted, and the white space around it is ignored: files of secrets end with a line break. */
  readonly isSecret?: boolean
  /** Whether `NAME_FILE` may name a file with the text. It may for every secret. */
  readonly mayBeInFile?: boolean
}

export interface SettingNotes extends Declaration {
  /** Texts that are valid. */
  readonly values: string
  /** Text that is parsed where the setting is not set. */
  readonly default?: string
}

const notes = z.registry<SettingNotes>()

/** Declares a setting that must be set: its kind reports that it is missing. */
export const required = <T>(kind: Kind<T>, declaration: Declaration): Kind<T> =>
  kind.register(notes, { ...declaration, values: kind.description ?? '' })

/** Declares a setting that is `undefined` where it is not set. */
export const optional = <T>(kind: Kind<T>, declaration: Declaration): z.ZodOptional<Kind<T>> =>
  kind.optional().register(notes, { ...declaration, values: kind.description ?? '' })

/** Declares a setting with a default. */
export const withDefault = <T>(
  kind: Kind<T>,
  declaration: Declaration & { readonly default: string },
): z.ZodPrefault<Kind<T>> =>
  kind.prefault(declaration.default).register(notes, { ...declaration, values: kind.description ?? '' })

/** Returns what is declared of the settings beside their kinds, by name. */
export const notesOf = (shape: z.ZodRawShape): ReadonlyMap<string, SettingNotes> =>
  new Map(
    Object.entries(shape).flatMap(([name, schema]) => {
      const found = notes.get(schema as z.ZodType)
      return found ? [[name, found]] : []
    }),
  )
