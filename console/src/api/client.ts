import createClient, { type Client, type Middleware } from "openapi-fetch";

import { SignedOut, type Session } from "../auth/session";
import type { components, paths } from "./schema";
import type { Settings } from "./settings";

export type Api = Client<paths>;
export type Camera = components["schemas"]["CameraView"];
export type VideoPage = components["schemas"]["Items_VideoView_"];
export type Video = components["schemas"]["VideoView"];
export type Me = components["schemas"]["Myself"];
export type Permission = components["schemas"]["Permission"];
export type Registration = components["schemas"]["RegistrationView"];

const TIMEOUT_MS = 20_000;

/** What went wrong, in the words of the home. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly field?: string | undefined,
    /** After how many seconds it can be tried again, where the home says so. */
    readonly retryAfterS?: number | undefined,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** The control plane, typed by its OpenAPI document. Every answer that is no success throws an ApiError. */
export function createApi(settings: Settings, session: Session): Api {
  const api = createClient<paths>({ baseUrl: settings.api });
  const signed: Middleware = {
    async onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${await session.accessToken()}`);
      return new Request(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(TIMEOUT_MS)]) });
    },
    async onResponse({ response }) {
      if (response.ok) return response;
      if (response.status === 401) {
        session.forget();
        throw new SignedOut();
      }
      const problem = (await response.json().catch(() => ({}))) as { message?: string; field?: string };
      const wait = Number(response.headers.get("Retry-After") ?? "");
      throw new ApiError(
        problem.message ?? `The home answers ${response.status}.`,
        response.status,
        problem.field,
        wait > 0 ? wait : undefined,
      );
    },
  };
  api.use(signed);
  return api;
}
