import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { ApiError, type Registration } from "../api/client";
import type { components } from "../api/schema";
import { keys } from "../cameras/queries";
import { useHome } from "../ui/home";
import { texts } from "../ui/texts";

const LOOK_AGAIN_MS = 10_000;
const words = texts.register;

export type Decision = components["schemas"]["Decision"];

function keyOf(code: string) {
  return ["registration", code] as const;
}

/** The device that shows a code. It is looked at again until somebody has decided, here or elsewhere. */
export function useRegistration(code: string) {
  const { api } = useHome();
  return useQuery<Registration>({
    queryKey: keyOf(code),
    gcTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
    // A code that is not there counts as a guess, so it is not asked for again by itself.
    refetchInterval: ({ state }) => (state.error === null && state.data?.state === "pending" ? LOOK_AGAIN_MS : false),
    queryFn: async ({ signal }) => {
      const { data } = await api.GET("/registrations/{code}", { params: { path: { code } }, signal });
      if (data === undefined) throw new Error("no answer");
      return data;
    },
  });
}

/** Let a device in, or deny it. Fails with an error in words for the person who decides. */
export function useDecide(code: string) {
  const { api } = useHome();
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async (body: Decision): Promise<Registration> => {
      const params = { path: { code } };
      try {
        const { data } = await api.POST("/registrations/{code}", { params, body });
        if (data === undefined) throw new Error("no answer");
        return data;
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 409)) throw error;
        // Either the name is taken, or somebody else has decided meanwhile: the registration tells.
        const { data } = await api.GET("/registrations/{code}", { params });
        const name = body.thingName;
        const isTaken = data?.state === "pending" && name !== null;
        throw new Error(isTaken ? words.errors.taken(name) : words.errors.decided, { cause: error });
      }
    },
    onSuccess: async (decided) => {
      queries.setQueryData(keyOf(code), decided);
      await queries.invalidateQueries({ queryKey: keys.cameras });
    },
  });
}

/** Groups that the camera can be put into. */
export function useGroups() {
  const { api } = useHome();
  return useQuery({
    queryKey: ["groups"],
    queryFn: async ({ signal }) => {
      const { data } = await api.GET("/groups", { params: { query: { limit: 100 } }, signal });
      return data?.items ?? [];
    },
  });
}

/** What went wrong, and what to do. */
export function inWords(error: Error): string {
  if (!(error instanceof ApiError)) return error.message;
  if (error.status === 404) return words.errors.gone;
  if (error.status === 429) return words.errors.tooMany(words.minutes(Math.ceil((error.retryAfterS ?? 600) / 60)));
  if (error.field === "thingName") return words.errors.thingForm;
  return error.message;
}
