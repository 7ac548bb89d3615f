import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useEffect, useMemo, useState, type ReactNode } from "react";
import { BrowserRouter, NavLink, Route, Routes } from "react-router";

import { ApiError, createApi } from "./api/client";
import { EventStream, type HomeEvent, type Link } from "./api/events";
import type { Settings } from "./api/settings";
import { SignedOut, type Session } from "./auth/session";
import { CameraPage } from "./cameras/CameraPage";
import { keys } from "./cameras/queries";
import { Wall } from "./cameras/Wall";
import { HomeContext } from "./ui/home";
import { texts } from "./ui/texts";
import { EventsPage } from "./videos/EventsPage";

interface Props {
  readonly settings: Settings;
  readonly session: Session;
}

/** The console of somebody who has signed in. */
export function App({ settings, session }: Props): ReactNode {
  const [link, setLink] = useState<Link>("connecting");
  const api = useMemo(() => createApi(settings, session), [settings, session]);
  const queries = useMemo(() => createQueries(session), [session]);
  useEffect(() => {
    const refresh = (event: HomeEvent): void => {
      invalidate(queries, event);
    };
    const everything = (): void => void queries.invalidateQueries();
    const stream = new EventStream(settings, api, refresh, setLink, everything);
    stream.start();
    return () => {
      stream.stop();
    };
  }, [settings, api, queries]);
  const home = useMemo(
    () => ({ api, link, signOut: () => { location.assign(settings.signOut); } }),
    [api, link, settings],
  );
  return (
    <QueryClientProvider client={queries}>
      <HomeContext value={home}>
        <BrowserRouter>
          <header className="bar">
            <strong>{texts.product}</strong>
            <nav>
              <NavLink to="/" end>
                {texts.home}
              </NavLink>
              <NavLink to="/events">{texts.events}</NavLink>
            </nav>
            <span className="link" role="status">
              <span className={`dot ${link === "live" ? "live" : "attention"}`} aria-hidden="true" />
              {texts[link]}
            </span>
            <form method="post" action={settings.signOut}>
              <button type="submit">{texts.signOut}</button>
            </form>
          </header>
          <main>
            <Routes>
              <Route path="/" element={<Wall />} />
              <Route path="/events" element={<EventsPage />} />
              <Route path="/cameras/:thing" element={<CameraPage />} />
              <Route path="*" element={<Wall />} />
            </Routes>
          </main>
        </BrowserRouter>
      </HomeContext>
    </QueryClientProvider>
  );
}

function createQueries(session: Session): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        retry: (failures, error) => {
          if (error instanceof SignedOut) {
            void session.begin(location.pathname);
            return false;
          }
          return !(error instanceof ApiError && error.status < 500) && failures < 3;
        },
      },
    },
  });
}

/** What an event makes old. */
function invalidate(queries: QueryClient, event: HomeEvent): void {
  void queries.invalidateQueries({ queryKey: keys.cameras });
  if (event.type === "clip_stored" || event.type === "clip_deleted" || event.type === "still_captured") {
    void queries.invalidateQueries({ queryKey: ["clips"] });
  }
}
