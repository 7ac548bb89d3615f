import type { Settings } from "../api/settings";

/**
 * Signing in: authorization code with PKCE (RFC 7636). Tokens live in memory only; after a reload the identity
 * provider, which still knows the browser, gives new ones without asking.
 */
const RETURN_PATH = "/signed-in";
const PENDING = "pits.sign-in";
const REFRESH_BEFORE_MS = 60_000;
const TIMEOUT_MS = 15_000;

interface Tokens {
  readonly access: string;
  readonly refresh: string | undefined;
  readonly goodUntil: number;
}

interface Pending {
  readonly state: string;
  readonly verifier: string;
  readonly path: string;
}

function random(bytes: number): string {
  return base64Url(crypto.getRandomValues(new Uint8Array(bytes)));
}

function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function challengeOf(verifier: string): Promise<string> {
  return base64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

/** What a token says, which only whoever has signed it can rely on: good for showing, not for deciding. */
function claimsOf(token: string | undefined): Record<string, unknown> {
  const payload = token?.split(".")[1];
  if (payload === undefined) return {};
  try {
    return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** One person in this tab. `begin` leaves the page; everything else waits for nobody. */
export class Session {
  private tokens: Tokens | undefined;
  private refreshing: Promise<string> | undefined;
  private leaving = false;

  constructor(private readonly settings: Settings) {}

  /** Whether tokens are at hand. */
  get isOpen(): boolean {
    return this.tokens !== undefined;
  }

  /** What the home calls this browser among those that a person is signed in with; undefined where it does not say. */
  get id(): string | undefined {
    const claims = claimsOf(this.tokens?.access);
    // Cognito's word for it is another.
    const id = claims["sid"] ?? claims["origin_jti"];
    return typeof id === "string" ? id : undefined;
  }

  /** Go to the identity provider, and come back to `path`. */
  async begin(path: string): Promise<void> {
    if (this.leaving) return;
    this.leaving = true;
    // Whoever comes back by the browser's own button finds this very page again.
    const back = (): void => {
      this.leaving = false;
    };
    window.addEventListener("pageshow", back, { once: true });
    const pending: Pending = { state: random(24), verifier: random(48), path };
    sessionStorage.setItem(PENDING, JSON.stringify(pending));
    const asked = new URLSearchParams({
      client_id: this.settings.clientId,
      redirect_uri: location.origin + RETURN_PATH,
      response_type: "code",
      scope: "openid email",
      code_challenge: await challengeOf(pending.verifier),
      code_challenge_method: "S256",
      state: pending.state,
    });
    location.assign(`${this.settings.authorize}?${asked.toString()}`);
  }

  /** Take what the identity provider has sent along, if this is its way back. Returns the path to go on with. */
  async complete(): Promise<string | undefined> {
    if (location.pathname !== RETURN_PATH) return undefined;
    const given = new URLSearchParams(location.search);
    const raw = sessionStorage.getItem(PENDING);
    sessionStorage.removeItem(PENDING);
    const pending = raw === null ? undefined : (JSON.parse(raw) as Pending);
    const code = given.get("code");
    // A sign-in that was not begun here may be somebody else's: begin one of our own.
    if (pending === undefined || code === null || given.get("state") !== pending.state) return "/";
    await this.exchange({
      grant_type: "authorization_code",
      code,
      code_verifier: pending.verifier,
      redirect_uri: location.origin + RETURN_PATH,
    });
    return pending.path;
  }

  /** An access token that is good for a while. Throws when somebody has to sign in again. */
  async accessToken(): Promise<string> {
    if (this.tokens === undefined) throw new SignedOut();
    if (Date.now() < this.tokens.goodUntil - REFRESH_BEFORE_MS) return this.tokens.access;
    this.refreshing ??= this.refresh().finally(() => {
      this.refreshing = undefined;
    });
    return this.refreshing;
  }

  /** Forget the tokens: the next request signs in again. */
  forget(): void {
    this.tokens = undefined;
  }

  private async refresh(): Promise<string> {
    const refresh = this.tokens?.refresh;
    if (refresh === undefined) throw new SignedOut();
    try {
      return await this.exchange({ grant_type: "refresh_token", refresh_token: refresh });
    } catch (error) {
      if (error instanceof SignedOut) this.forget();
      throw error;
    }
  }

  private async exchange(asked: Record<string, string>): Promise<string> {
    const answer = await fetch(this.settings.token, {
      method: "POST",
      body: new URLSearchParams({ client_id: this.settings.clientId, ...asked }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.status === 400 || answer.status === 401) throw new SignedOut();
    if (!answer.ok) throw new Error(`The identity provider answers ${answer.status}.`);
    const given = (await answer.json()) as { access_token: string; refresh_token?: string; expires_in: number };
    this.tokens = {
      access: given.access_token,
      refresh: given.refresh_token ?? this.tokens?.refresh,
      goodUntil: Date.now() + given.expires_in * 1000,
    };
    return given.access_token;
  }
}

/** Somebody has to sign in. */
export class SignedOut extends Error {
  constructor() {
    super("You are signed out.");
    this.name = "SignedOut";
  }
}
