import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import type { components } from "../api/schema";
import type { Permission } from "../api/client";
import { useHome } from "../ui/home";

export type SignedIn = components["schemas"]["SessionView"];

const SESSIONS = ["sessions"] as const;

/** Who has signed in here. */
export function useMe() {
  const { api } = useHome();
  return useQuery({
    queryKey: ["me"],
    staleTime: 60_000,
    queryFn: async ({ signal }) => {
      const { data } = await api.GET("/people/me", { signal });
      if (data === undefined) throw new Error("no answer");
      return data;
    },
  });
}

/** Whether whoever has signed in may do something; not, as long as that is not known. */
export function useMay(permission: Permission): boolean {
  return useMe().data?.permissions.includes(permission) ?? false;
}

/** Where one is signed in, the browser that was used last first. */
export function useSessions({ enabled }: { readonly enabled: boolean }) {
  const { api } = useHome();
  return useQuery({
    queryKey: SESSIONS,
    enabled,
    queryFn: async ({ signal }) => {
      const { data } = await api.GET("/sessions", { params: { query: { limit: 100 } }, signal });
      return [...(data?.items ?? [])].sort((one, other) => other.usedAt - one.usedAt);
    },
  });
}

/** Sign another browser out. */
export function useEndSession() {
  const { api } = useHome();
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (session: string) => api.DELETE("/sessions/{session}", { params: { path: { session } } }),
    onSettled: () => queries.invalidateQueries({ queryKey: SESSIONS }),
  });
}
