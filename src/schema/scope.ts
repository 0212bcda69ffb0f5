import { builder } from './builder.ts'

const Scope = builder.objectRef<{ readonly name: string; readonly description: string }>('Scope').implement({
  description: 'A right that a token may carry.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'What it is called in a token.' }),
    description: t.exposeString('description', { description: 'What it allows.' }),
  }),
})

builder.queryField('scopes', (t) =>
  t.field({
    type: [Scope],
    description: 'The scopes that this installation knows, by name.',
    resolve: async (_root, _args, { actor, services }) => {
      await actor()
      return [...services.knownScopes]
        .map(([name, description]) => ({ name, description }))
        .sort((left, right) => (left.name < right.name ? -1 : 1))
    },
  }),
)
