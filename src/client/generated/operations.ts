// Made by `npm run codegen` from the schema and ../operations. Not to be edited.

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
/** The kinds of token. */
export type TokenType =
  /** Made when a user logs in; lives for the token lifetime. */
  | 'SESSION'
  /** Made by a user, or an admin, to carry about; has a name. */
  | 'USER'
  /** Delegated to the user's notebook, with all the parent's scopes. */
  | 'NOTEBOOK'
  /** Delegated to one service, with some of the parent's scopes. */
  | 'INTERNAL'
  /** Made by an admin for a bot. */
  | 'SERVICE'
  /** Made by Gafaelfawr for an OpenID Connect client. Shown here, but it cannot act. */
  | 'OIDC';

/** Where a delegated token came from. */
export type DelegationSource =
  /** This process's memory; the token store has confirmed it. */
  | 'CACHE'
  /** A live token that was found on record. */
  | 'DATABASE'
  /** It was made for this request. */
  | 'NEW';

/** What can happen to a token. */
export type TokenChangeAction =
  /** It was made. */
  | 'CREATE'
  /** It was ended before its time, by itself or with a token above it. */
  | 'REVOKE'
  /** Its time was over, and upkeep removed it. */
  | 'EXPIRE'
  /** Its name, scopes or expiry were changed. */
  | 'EDIT';

/** Which entries to list. All that is given must match. */
export type TokenChangeFilter = {
  /** Whose tokens. */
  readonly username?: string | null | undefined;
  /** Who did it: a username, <bootstrap> or <internal>. */
  readonly actor?: string | null | undefined;
  /** Key of a token: its entries and those of its children. */
  readonly key?: string | number | null | undefined;
  /** Key of a token: its entries alone. */
  readonly token?: string | number | null | undefined;
  /** What kind of token. */
  readonly type?: TokenType | null | undefined;
  /** Not before this time. */
  readonly since?: string | null | undefined;
  /** Not after this time. */
  readonly until?: string | null | undefined;
  /** Client address, or a CIDR block of them such as 192.0.2.0/24; IPv4 or IPv6. */
  readonly ipAddress?: string | null | undefined;
};

/** A group that a user belongs to, with a numeric identifier (GID) within 32 bits. */
export type GroupInput = {
  /** Begins with a letter or digit, holds only A-Z a-z 0-9 . _ - and at least one letter. */
  readonly name: string;
  /** Numeric identifier (GID). */
  readonly id: number;
};

/** A group that a user belongs to, with a numeric identifier (GID) of up to 64 bits. */
export type PosixGroupInput = {
  /** Begins with a letter or digit, holds only A-Z a-z 0-9 . _ - and at least one letter. */
  readonly name: string;
  /** Numeric identifier (GID). */
  readonly gidNumber: number | string;
};

/** What the token records about its user. What is left out is not recorded: whoever needs it looks it up elsewhere. */
export type UserInfoInput = {
  /** The name people know the user by; not empty. */
  readonly name?: string | null | undefined;
  /** Electronic mail address; not empty. */
  readonly email?: string | null | undefined;
  /** Numeric user identifier (UID), at least 1. */
  readonly uid?: number | null | undefined;
  /** Numeric identifier of the primary group (GID), at least 1. */
  readonly gid?: number | null | undefined;
  /** The groups of the user, in their order; an empty list records that there are none. */
  readonly groups?: ReadonlyArray<GroupInput> | null | undefined;
  /** In place of uid where that takes more than 32 bits. If both are given they must be equal. */
  readonly uidNumber?: number | string | null | undefined;
  /** In place of gid where that takes more than 32 bits. If both are given they must be equal. */
  readonly gidNumber?: number | string | null | undefined;
  /** In place of groups where an identifier takes more than 32 bits. If both are given, groups must be those of allGroups within 32 bits, in the same order. */
  readonly allGroups?: ReadonlyArray<PosixGroupInput> | null | undefined;
};

/** The session to make. */
export type CreateSessionTokenInput = {
  /** 2 to 64 lower-case letters, digits and single inner hyphens, with two characters in a row of which the second is a letter. */
  readonly username: string;
  /** What it shall allow: known scopes. */
  readonly scopes?: ReadonlyArray<string>;
  /** What it says about the user. */
  readonly userInfo?: UserInfoInput | null | undefined;
};

/** The service token to make. */
export type CreateServiceTokenInput = {
  /** Of a bot: begins with "bot-". */
  readonly username: string;
  /** What it shall allow: known scopes. */
  readonly scopes?: ReadonlyArray<string>;
  /** When it ends, at least 300 s ahead; without it, never. */
  readonly expiresAt?: string | null | undefined;
  /** What it says about the bot. */
  readonly userInfo?: UserInfoInput | null | undefined;
};

/** The user token to make. */
export type CreateUserTokenInput = {
  /** Whose it will be; one's own without it. 2 to 64 lower-case letters, digits and single inner hyphens, with two characters in a row of which the second is a letter. */
  readonly username?: string | null | undefined;
  /** 1 to 64 characters, unlike any other of the user's tokens. */
  readonly tokenName: string;
  /** What it shall allow: known scopes, and unless an admin asks, scopes that the acting token holds. */
  readonly scopes?: ReadonlyArray<string>;
  /** When it ends, at least 300 s ahead; without it, never. */
  readonly expiresAt?: string | null | undefined;
  /** For admins who create it for someone else; one's own token inherits one's own. */
  readonly userInfo?: UserInfoInput | null | undefined;
};

/** What to change. What is left out, or null, stays as it is. */
export type ModifyTokenInput = {
  /** A new name, unlike any other of the user's tokens. */
  readonly tokenName?: string | null | undefined;
  /** Replaces all scopes; an empty list means none. */
  readonly scopes?: ReadonlyArray<string> | null | undefined;
  /** A new end, at least 300 s ahead. */
  readonly expiresAt?: string | null | undefined;
  /** true: it shall never end. Not together with expiresAt. */
  readonly noExpire?: boolean | null | undefined;
};

/** Which tokens to revoke. All that is given must match, and something must be given. */
export type RevokeTokensFilter = {
  /** Whose tokens. */
  readonly username?: string | null | undefined;
  /** Those lent to this service. */
  readonly service?: string | null | undefined;
  /** What kind of token. */
  readonly type?: TokenType | null | undefined;
  /** Those below this token; itself it is spared. */
  readonly ancestor?: string | number | null | undefined;
  /** Those made before this time. */
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
  /** A token for one service, made from the acting token: the live one where there is one, else a new one. */
  internalToken(variables: InternalTokenMutationVariables): Promise<InternalTokenMutation['internalToken']>
  /** A token for the user's notebook, with all scopes of the current token that may be delegated. */
  notebookToken(variables?: NotebookTokenMutationVariables): Promise<NotebookTokenMutation['notebookToken']>
  /** The scopes that this installation knows, by name. */
  scopes(): Promise<ScopesQuery['scopes']>
  /** Changes a user token. A shorter life or fewer scopes reach every token delegated from it. Needs admin:token. */
  modifyToken(variables: ModifyTokenMutationVariables): Promise<ModifyTokenMutation['modifyToken']>
  /** Ends a token and all that were delegated from it, at once. One's own with user:token, any with admin:token. */
  revokeToken(variables: RevokeTokenMutationVariables): Promise<RevokeTokenMutation['revokeToken']>
  /** Ends all tokens that match, and their descendants. Needs admin:token. */
  revokeTokens(variables: RevokeTokensMutationVariables): Promise<RevokeTokensMutation['revokeTokens']>
  /** Empties the in-memory caches of every process. Revokes nothing: the tokens are found again in the database. Needs admin:token. */
  clearTokenCache(): Promise<ClearTokenCacheMutation['clearTokenCache']>
  /** History of token changes, newest first: of all users for admins, else of the own user, with user:token. */
  tokenChanges(variables?: TokenChangesQueryVariables): Promise<TokenChangesQuery['tokenChanges']>
  /** Makes a session, as after a log-in; it lives for the token lifetime. Needs admin:token. */
  createSessionToken(variables: CreateSessionTokenMutationVariables): Promise<CreateSessionTokenMutation['createSessionToken']>
  /** Makes a token for a bot. Needs admin:token. */
  createServiceToken(variables: CreateServiceTokenMutationVariables): Promise<CreateServiceTokenMutation['createServiceToken']>
  /** Makes a token for a user to carry about. Needs user:token for oneself, admin:token for others. */
  createUserToken(variables: CreateUserTokenMutationVariables): Promise<CreateUserTokenMutation['createUserToken']>
  /** One token: an admin any, others their own, with user:token. NOT_FOUND where there is none to see. */
  token(variables: TokenQueryVariables): Promise<TokenQuery['token']>
  /** Tokens, newest first: of all users for admins, else of the own user, with user:token. */
  tokens(variables?: TokensQueryVariables): Promise<TokensQuery['tokens']>
  /** Tokens, newest first: of all users for admins, else of the own user, with user:token. */
  tokenCount(variables?: TokenCountQueryVariables): Promise<TokenCountQuery['tokenCount']>
  /** Who is asking. The bootstrap token is nobody and gets PERMISSION_DENIED. */
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
