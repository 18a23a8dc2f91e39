// The addresses of the console's pages.

const encode = encodeURIComponent;

export const paths = {
  signIn: "/sign-in",
  account: "/account",
  inbox: "/inbox",
  space: (slug: string) => `/s/${encode(slug)}`,
  pipelines: (slug: string, query = "") => `/s/${encode(slug)}/pipelines${query && `?${query}`}`,
  pipeline: (slug: string, id: string) => `/s/${encode(slug)}/pipelines/${encode(id)}`,
  incidents: (slug: string, query = "") => `/s/${encode(slug)}/incidents${query && `?${query}`}`,
  incident: (slug: string, id: string) => `/s/${encode(slug)}/incidents/${encode(id)}`,
  runs: (slug: string, query = "") => `/s/${encode(slug)}/runs${query && `?${query}`}`,
  run: (slug: string, id: string) => `/s/${encode(slug)}/runs/${encode(id)}`,
  connectors: (slug: string) => `/s/${encode(slug)}/connectors`,
  newConnector: (slug: string) => `/s/${encode(slug)}/connectors/new`,
  connector: (slug: string, id: string) => `/s/${encode(slug)}/connectors/${encode(id)}`,
  notifications: (slug: string) => `/s/${encode(slug)}/notifications`,
  channel: (slug: string, id: string) => `/s/${encode(slug)}/notifications/${encode(id)}`,
  people: (slug: string) => `/s/${encode(slug)}/people`,
  audit: (slug: string) => `/s/${encode(slug)}/audit`,
};
