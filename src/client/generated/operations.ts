// Made by `npm run codegen` from the schema and ../operations. Not to be edited.

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
/** Type of a token. */
export type TokenType =
  /** Session of a user who has logged in. Expires after the token lifetime. */
  | 'SESSION'
  /** User token (personal access token), with a name. */
  | 'USER'
  /** Token delegated to the user's notebook, with all scopes of its parent that may be delegated. */
  | 'NOTEBOOK'
  /** Token delegated to one service, with some of the scopes of its parent. */
  | 'INTERNAL'
  /** Token of a bot, created by an admin. */
  | 'SERVICE'
  /** Token that Gafaelfawr issued to an OpenID Connect client. Porthor lists and revokes it, but does not accept it. */
  | 'OIDC';

/** Source of a delegated token. */
export type DelegationSource =
  /** Reused from the memory of the process; the token store confirmed it. */
  | 'CACHE'
  /** Reused: a live token was found in the database. */
  | 'DATABASE'
  /** Issued for this request. */
  | 'NEW';

/** Kind of a history event. */
export type TokenChangeAction =
  /** The token was issued. */
  | 'CREATE'
  /** The token was revoked, by itself or together with an ancestor. */
  | 'REVOKE'
  /** The token was expired, and maintenance deleted its row. */
  | 'EXPIRE'
  /** The name, scopes or expiry of the token were changed. */
  | 'EDIT';

/** Criteria of history events; all given ones must match. */
export type TokenChangeFilter = {
  /** Username of the user of the token. */
  readonly username?: string | null | undefined;
  /** Actor of the change: a username, <bootstrap> or <internal>. */
  readonly actor?: string | null | undefined;
  /** Token key: matches events of this token and of its children. */
  readonly key?: string | number | null | undefined;
  /** Token key: matches events of this token only. */
  readonly token?: string | number | null | undefined;
  /** Type of the token. */
  readonly type?: TokenType | null | undefined;
  /** Earliest time of the event, inclusive. */
  readonly since?: string | null | undefined;
  /** Latest time of the event, inclusive. */
  readonly until?: string | null | undefined;
  /** IPv4 or IPv6 address of the client, or a CIDR block such as 192.0.2.0/24. */
  readonly ipAddress?: string | null | undefined;
};

/** A group that a user belongs to, with a numeric identifier (GID) within 32 bits. */
export type GroupInput = {
  /** Name of the group: begins with a letter or digit, and has only A-Z a-z 0-9 . _ - and at least one letter. */
  readonly name: string;
  /** Numeric identifier of the group (GID). */
  readonly id: number;
};

/** A group that a user belongs to, with a numeric identifier (GID) of up to 64 bits. */
export type PosixGroupInput = {
  /** Name of the group: begins with a letter or digit, and has only A-Z a-z 0-9 . _ - and at least one letter. */
  readonly name: string;
  /** Numeric identifier of the group (GID). */
  readonly gidNumber: number | string;
};

/** User information that the token records. A field that is left out is not recorded: a service looks it up elsewhere. */
export type UserInfoInput = {
  /** Full name of the user; not empty. */
  readonly name?: string | null | undefined;
  /** Email address of the user; not empty. */
  readonly email?: string | null | undefined;
  /** Numeric user identifier (UID), at least 1. */
  readonly uid?: number | null | undefined;
  /** Numeric identifier of the primary group (GID), at least 1. */
  readonly gid?: number | null | undefined;
  /** Groups of the user, in their order; an empty list records that the user has no groups. */
  readonly groups?: ReadonlyArray<GroupInput> | null | undefined;
  /** Numeric user identifier (UID), for one that exceeds 32 bits. If uid is also given, both must be equal. */
  readonly uidNumber?: number | string | null | undefined;
  /** Numeric identifier of the primary group (GID), for one that exceeds 32 bits. If gid is also given, both must be equal. */
  readonly gidNumber?: number | string | null | undefined;
  /** Groups of the user, for identifiers that exceed 32 bits. If groups is also given, it must have those of allGroups within 32 bits, in the same order. */
  readonly allGroups?: ReadonlyArray<PosixGroupInput> | null | undefined;
};

/** The session to create. */
export type CreateSessionTokenInput = {
  /** Username of the user: 2 to 64 lower-case letters, digits and single inner hyphens, with a letter right after another letter or digit. */
  readonly username: string;
  /** Scopes of the token: known scopes. */
  readonly scopes?: ReadonlyArray<string>;
  /** User information that the token records. */
  readonly userInfo?: UserInfoInput | null | undefined;
};

/** The service token to create. */
export type CreateServiceTokenInput = {
  /** Username of the bot: begins with "bot-". */
  readonly username: string;
  /** Scopes of the token: known scopes. */
  readonly scopes?: ReadonlyArray<string>;
  /** Time at which the token expires, at least 300 s ahead. Default: it never expires. */
  readonly expiresAt?: string | null | undefined;
  /** User information about the bot that the token records. */
  readonly userInfo?: UserInfoInput | null | undefined;
};

/** The user token to create. */
export type CreateUserTokenInput = {
  /** Username of the user of the token: 2 to 64 lower-case letters, digits and single inner hyphens, with a letter right after another letter or digit. Default: the current token's user. */
  readonly username?: string | null | undefined;
  /** Name of the token, unique among the user's tokens: 1 to 64 characters. */
  readonly tokenName: string;
  /** Scopes of the token: known scopes. Without admin:token, only scopes that the current token holds. */
  readonly scopes?: ReadonlyArray<string>;
  /** Time at which the token expires, at least 300 s ahead. Default: it never expires. */
  readonly expiresAt?: string | null | undefined;
  /** User information that the token records. Only for another user's token: one's own token inherits it from the current token. */
  readonly userInfo?: UserInfoInput | null | undefined;
};

/** Changes to a user token. A field that is left out or null stays as it is. */
export type ModifyTokenInput = {
  /** New name, unique among the user's tokens. */
  readonly tokenName?: string | null | undefined;
  /** New scopes, in place of all present ones; an empty list means no scopes. */
  readonly scopes?: ReadonlyArray<string> | null | undefined;
  /** New time at which the token expires, at least 300 s ahead. */
  readonly expiresAt?: string | null | undefined;
  /** If true, the token never expires. Must not be given together with expiresAt. */
  readonly noExpire?: boolean | null | undefined;
};

/** Criteria of tokens to revoke; all given ones must match, and at least one must be given. */
export type RevokeTokensFilter = {
  /** Username of the user of the token. */
  readonly username?: string | null | undefined;
  /** Service that the token is for. */
  readonly service?: string | null | undefined;
  /** Type of the token. */
  readonly type?: TokenType | null | undefined;
  /** Token key: matches all descendants of this token, but not the token itself. */
  readonly ancestor?: string | number | null | undefined;
  /** Matches tokens that were issued before this time. */
  readonly createdBefore?: string | null | undefined;
};

export type DelegatedTokenFragment = {
  readonly token: string,
  readonly key: string,
  readonly type: TokenType,
  readonly username: string,
  readonly service: string | null,
  readonly scopes: ReadonlyArray<string>,
  readonly createdAt: string,
  readonly expiresAt: string,
  readonly source: DelegationSource
};

export type InternalTokenMutationVariables = Exact<{
  service: string;
  scopes?: ReadonlyArray<string>;
  minimumLifetime?: number | null | undefined;
}>;


export type InternalTokenMutation = {
  readonly internalToken: DelegatedTokenFragment
};

export type NotebookTokenMutationVariables = Exact<{
  minimumLifetime?: number | null | undefined;
}>;


export type NotebookTokenMutation = {
  readonly notebookToken: DelegatedTokenFragment
};

export type ScopesQueryVariables = Exact<{ [key: string]: never; }>;


export type ScopesQuery = {
  readonly scopes: ReadonlyArray<{
    readonly name: string,
    readonly description: string
  }>
};

export type ModifyTokenMutationVariables = Exact<{
  key: string | number;
  input: ModifyTokenInput;
}>;


export type ModifyTokenMutation = {
  readonly modifyToken: TokenInfoFragment
};

export type RevokeTokenMutationVariables = Exact<{
  key: string | number;
}>;


export type RevokeTokenMutation = {
  readonly revokeToken: {
    readonly keys: ReadonlyArray<string>
  }
};

export type RevokeTokensMutationVariables = Exact<{
  filter: RevokeTokensFilter;
  dryRun?: boolean;
  first?: number;
}>;


export type RevokeTokensMutation = {
  readonly revokeTokens: {
    readonly count: number,
    readonly keys: ReadonlyArray<string>
  }
};

export type ClearTokenCacheMutationVariables = Exact<{ [key: string]: never; }>;


export type ClearTokenCacheMutation = {
  readonly clearTokenCache: {
    readonly internal: number,
    readonly notebook: number
  }
};

export type TokenChangeFragment = {
  readonly token: string,
  readonly username: string,
  readonly type: TokenType,
  readonly action: TokenChangeAction,
  readonly actor: string | null,
  readonly tokenName: string | null,
  readonly parent: string | null,
  readonly service: string | null,
  readonly scopes: ReadonlyArray<string>,
  readonly expiresAt: string | null,
  readonly oldTokenName: string | null,
  readonly oldScopes: ReadonlyArray<string> | null,
  readonly oldExpiresAt: string | null,
  readonly expiresChanged: boolean,
  readonly ipAddress: string | null,
  readonly eventTime: string
};

export type TokenChangesQueryVariables = Exact<{
  filter?: TokenChangeFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}>;


export type TokenChangesQuery = {
  readonly tokenChanges: {
    readonly nodes: ReadonlyArray<TokenChangeFragment>,
    readonly pageInfo: PageInfoFragment
  }
};

export type CreatedTokenFragment = {
  readonly token: string,
  readonly info: TokenInfoFragment
};

export type CreateSessionTokenMutationVariables = Exact<{
  input: CreateSessionTokenInput;
}>;


export type CreateSessionTokenMutation = {
  readonly createSessionToken: CreatedTokenFragment
};

export type CreateServiceTokenMutationVariables = Exact<{
  input: CreateServiceTokenInput;
}>;


export type CreateServiceTokenMutation = {
  readonly createServiceToken: CreatedTokenFragment
};

export type CreateUserTokenMutationVariables = Exact<{
  input: CreateUserTokenInput;
}>;


export type CreateUserTokenMutation = {
  readonly createUserToken: CreatedTokenFragment
};

export type TokenInfoFragment = {
  readonly key: string,
  readonly username: string,
  readonly type: TokenType,
  readonly tokenName: string | null,
  readonly service: string | null,
  readonly scopes: ReadonlyArray<string>,
  readonly createdAt: string,
  readonly expiresAt: string | null,
  readonly lastUsedAt: string | null
};

export type TokenPageFragment = {
  readonly nodes: ReadonlyArray<TokenInfoFragment>,
  readonly pageInfo: PageInfoFragment
};

export type PageInfoFragment = {
  readonly hasNextPage: boolean,
  readonly hasPreviousPage: boolean,
  readonly startCursor: string | null,
  readonly endCursor: string | null
};

export type TokenTreeFragment = (
  {
  readonly parent: TokenInfoFragment | null,
  readonly children: {
    readonly totalCount: number,
    readonly nodes: ReadonlyArray<TokenInfoFragment>
  }
}
  & TokenInfoFragment
);

export type TokenQueryVariables = Exact<{
  key: string | number;
}>;


export type TokenQuery = {
  readonly token: TokenTreeFragment | null
};

export type TokensQueryVariables = Exact<{
  username?: string | null | undefined;
  type?: TokenType | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}>;


export type TokensQuery = {
  readonly tokens: TokenPageFragment
};

export type TokenCountQueryVariables = Exact<{
  username?: string | null | undefined;
  type?: TokenType | null | undefined;
}>;


export type TokenCountQuery = {
  readonly tokenCount: {
    readonly totalCount: number
  }
};

export type UserInfoFragment = {
  readonly username: string,
  readonly name: string | null,
  readonly email: string | null,
  readonly uid: number | null,
  readonly gid: number | null,
  readonly groupsRecorded: boolean,
  readonly uidNumber: number | string | null,
  readonly gidNumber: number | string | null,
  readonly groups: ReadonlyArray<{
    readonly name: string,
    readonly id: number
  }>,
  readonly allGroups: ReadonlyArray<{
    readonly name: string,
    readonly gidNumber: number | string
  }> | null
};

export type ViewerQueryVariables = Exact<{ [key: string]: never; }>;


export type ViewerQuery = {
  readonly viewer: {
    readonly token: TokenInfoFragment,
    readonly user: UserInfoFragment
  }
};

/** A method for each operation, named after the one field that it asks for, which is its answer. */
export interface Operations {
  /** Delegates the current token to one service. Returns the live internal token if there is one, else issues a new one. A gateway delegates the token in the header X-Porthor-Subject-Token instead. */
  internalToken(variables: InternalTokenMutationVariables): Promise<InternalTokenMutation['internalToken']>
  /** Delegates the current token to the user's notebook, with all scopes that may be delegated. Returns the live notebook token if there is one, else issues a new one. A gateway delegates the token in the header X-Porthor-Subject-Token instead. */
  notebookToken(variables?: NotebookTokenMutationVariables): Promise<NotebookTokenMutation['notebookToken']>
  /** Known scopes: those that are configured, sorted by name. Any valid token may read them. */
  scopes(): Promise<ScopesQuery['scopes']>
  /** Modifies a user token. An earlier expiry and fewer scopes also apply to all tokens delegated from it. Requires admin:token. */
  modifyToken(variables: ModifyTokenMutationVariables): Promise<ModifyTokenMutation['modifyToken']>
  /** Revokes a token and all tokens delegated from it, at once. The current token: no scope required. Other tokens of one's own: user:token. Any token: admin:token. */
  revokeToken(variables: RevokeTokenMutationVariables): Promise<RevokeTokenMutation['revokeToken']>
  /** Revokes all tokens that match the filter, and their descendants. Requires admin:token. */
  revokeTokens(variables: RevokeTokensMutationVariables): Promise<RevokeTokensMutation['revokeTokens']>
  /** Empties the in-memory token caches of every process. Revokes no token: all are found again in the database. Requires admin:token. */
  clearTokenCache(): Promise<ClearTokenCacheMutation['clearTokenCache']>
  /** History events of tokens, newest first. With admin:token: of all users. With user:token: of the current token's user. */
  tokenChanges(variables?: TokenChangesQueryVariables): Promise<TokenChangesQuery['tokenChanges']>
  /** Creates a session for a user, as a log-in does. It expires after the token lifetime. Requires admin:token. */
  createSessionToken(variables: CreateSessionTokenMutationVariables): Promise<CreateSessionTokenMutation['createSessionToken']>
  /** Creates a service token for a bot. Requires admin:token. */
  createServiceToken(variables: CreateServiceTokenMutationVariables): Promise<CreateServiceTokenMutation['createServiceToken']>
  /** Creates a user token (personal access token). Requires user:token for oneself, and admin:token for others. */
  createUserToken(variables: CreateUserTokenMutationVariables): Promise<CreateUserTokenMutation['createUserToken']>
  /** Token with this key; NOT_FOUND if there is none. With admin:token: any token. With user:token: tokens of the current token's user. */
  token(variables: TokenQueryVariables): Promise<TokenQuery['token']>
  /** Tokens, newest first. With admin:token: of all users. With user:token: of the current token's user. */
  tokens(variables?: TokensQueryVariables): Promise<TokensQuery['tokens']>
  /** Tokens, newest first. With admin:token: of all users. With user:token: of the current token's user. */
  tokenCount(variables?: TokenCountQueryVariables): Promise<TokenCountQuery['tokenCount']>
  /** The current token and its user. PERMISSION_DENIED for the bootstrap token, which has no user. */
  viewer(): Promise<ViewerQuery['viewer']>
}

/** The text of each operation. */
export const documents: Readonly<Record<keyof Operations, string>> = {
  internalToken: "fragment DelegatedToken on DelegatedToken{token key type username service scopes createdAt expiresAt source}mutation InternalToken($service:String!$scopes:[String!]!=[]$minimumLifetime:Int){internalToken(service:$service scopes:$scopes minimumLifetime:$minimumLifetime){...DelegatedToken}}",
  notebookToken: "fragment DelegatedToken on DelegatedToken{token key type username service scopes createdAt expiresAt source}mutation NotebookToken($minimumLifetime:Int){notebookToken(minimumLifetime:$minimumLifetime){...DelegatedToken}}",
  scopes: "query Scopes{scopes{name description}}",
  modifyToken: "mutation ModifyToken($key:ID!$input:ModifyTokenInput!){modifyToken(key:$key input:$input){...TokenInfo}}fragment TokenInfo on Token{key username type tokenName service scopes createdAt expiresAt lastUsedAt}",
  revokeToken: "mutation RevokeToken($key:ID!){revokeToken(key:$key){keys}}",
  revokeTokens: "mutation RevokeTokens($filter:RevokeTokensFilter!$dryRun:Boolean!=false$first:Int!=100){revokeTokens(filter:$filter dryRun:$dryRun){count keys(first:$first)}}",
  clearTokenCache: "mutation ClearTokenCache{clearTokenCache{internal notebook}}",
  tokenChanges: "fragment TokenChange on TokenChange{token username type action actor tokenName parent service scopes expiresAt oldTokenName oldScopes oldExpiresAt expiresChanged ipAddress eventTime}query TokenChanges($filter:TokenChangeFilter$first:Int$after:String$last:Int$before:String){tokenChanges(filter:$filter first:$first after:$after last:$last before:$before){nodes{...TokenChange}pageInfo{...PageInfo}}}fragment PageInfo on PageInfo{hasNextPage hasPreviousPage startCursor endCursor}",
  createSessionToken: "fragment CreatedToken on CreatedToken{token info{...TokenInfo}}mutation CreateSessionToken($input:CreateSessionTokenInput!){createSessionToken(input:$input){...CreatedToken}}fragment TokenInfo on Token{key username type tokenName service scopes createdAt expiresAt lastUsedAt}",
  createServiceToken: "fragment CreatedToken on CreatedToken{token info{...TokenInfo}}mutation CreateServiceToken($input:CreateServiceTokenInput!){createServiceToken(input:$input){...CreatedToken}}fragment TokenInfo on Token{key username type tokenName service scopes createdAt expiresAt lastUsedAt}",
  createUserToken: "fragment CreatedToken on CreatedToken{token info{...TokenInfo}}mutation CreateUserToken($input:CreateUserTokenInput!){createUserToken(input:$input){...CreatedToken}}fragment TokenInfo on Token{key username type tokenName service scopes createdAt expiresAt lastUsedAt}",
  token: "fragment TokenInfo on Token{key username type tokenName service scopes createdAt expiresAt lastUsedAt}fragment TokenTree on Token{...TokenInfo parent{...TokenInfo}children(first:500){totalCount nodes{...TokenInfo}}}query Token($key:ID!){token(key:$key){...TokenTree}}",
  tokens: "fragment TokenInfo on Token{key username type tokenName service scopes createdAt expiresAt lastUsedAt}fragment TokenPage on TokenConnection{nodes{...TokenInfo}pageInfo{...PageInfo}}fragment PageInfo on PageInfo{hasNextPage hasPreviousPage startCursor endCursor}query Tokens($username:String$type:TokenType$first:Int$after:String$last:Int$before:String){tokens(username:$username type:$type first:$first after:$after last:$last before:$before){...TokenPage}}",
  tokenCount: "query TokenCount($username:String$type:TokenType){tokenCount:tokens(username:$username type:$type first:1){totalCount}}",
  viewer: "fragment TokenInfo on Token{key username type tokenName service scopes createdAt expiresAt lastUsedAt}fragment UserInfo on UserInfo{username name email uid gid groups{name id}groupsRecorded uidNumber gidNumber allGroups{name gidNumber}}query Viewer{viewer{token{...TokenInfo}user{...UserInfo}}}",
}
