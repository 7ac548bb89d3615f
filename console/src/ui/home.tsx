import { createContext, useContext } from "react";

import type { Api } from "../api/client";
import type { Link } from "../api/events";
import type { Settings } from "../api/settings";
import type { Session } from "../auth/session";
import type { Deletions } from "../videos/deletions";

/** What every page may use. */
export interface Home {
  readonly api: Api;
  readonly deletions: Deletions;
  readonly link: Link;
  readonly session: Session;
  readonly settings: Settings;
}

export const HomeContext = createContext<Home | undefined>(undefined);

export function useHome(): Home {
  const home = useContext(HomeContext);
  if (home === undefined) throw new Error("useHome is for what stands inside the home");
  return home;
}
