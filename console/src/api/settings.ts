/** Where this console finds its home: the file `settings.json` beside it, written by whoever serves it. */
export interface Settings {
  /** Address of the control plane, without a slash at its end. */
  readonly api: string;
  /** Address of the data plane's socket; a path at home, wss://… in AWS. */
  readonly socket: string;
  /** Addresses of the identity provider. */
  readonly authorize: string;
  readonly token: string;
  /** Leaves by a form at home; an address elsewhere is gone to. */
  readonly signOut: string;
  /** Where somebody makes a passkey of their own. */
  readonly passkeys: string;
  readonly clientId: string;
}

const names = ["api", "socket", "authorize", "token", "signOut", "passkeys", "clientId"] as const;

/** Read the settings; throws an Error that says what is missing. */
export async function loadSettings(): Promise<Settings> {
  const answer = await fetch("/settings.json", { cache: "no-store", signal: AbortSignal.timeout(15_000) });
  if (!answer.ok) throw new Error(`settings.json: ${answer.status}`);
  const given = (await answer.json()) as Partial<Record<string, unknown>>;
  for (const name of names) {
    if (typeof given[name] !== "string") throw new Error(`settings.json: ${name} is missing`);
  }
  return given as unknown as Settings;
}
