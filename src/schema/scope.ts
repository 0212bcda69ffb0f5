import { builder } from './builder.ts'

const Scope = builder.objectRef<{ readonly name: string; readonly description: string }>('Scope').implement({
  description: 'A right that a token may have.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the scope, as in the scopes of a token.' }),
    description: t.exposeString('description', { description: 'Description of what the scope allows.' }),
  }),
})

builder.queryField('scopes', (t) =>
  t.field({
    type: [Scope],
    description: 'Known scopes: those that are configured, sorted by name. Any valid token may read them.',
    resolve: async (_root, _args, { actor, services }) => {
      await actor()
      return [...services.knownScopes]
        .map(([name, description]) => ({ name, description }))
        .sort((left, right) => (left.name < right.name ? -1 : 1))
    },
  }),
)
