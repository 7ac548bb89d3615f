import { createContext, useContext } from "react";

import type { Api } from "../api/client";
import type { Link } from "../api/events";

/** What every page may use. */
export interface Home {
  readonly api: Api;
  readonly link: Link;
  readonly signOut: () => void;
}

export const HomeContext = createContext<Home | undefined>(undefined);

export function useHome(): Home {
  const home = useContext(HomeContext);
  if (home === undefined) throw new Error("useHome is for what stands inside the home");
  return home;
}
