import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useEffect, useMemo, useState, type ReactNode } from "react";
import { BrowserRouter, Route, Routes, useLocation } from "react-router";

import { ApiError, createApi, type Api } from "./api/client";
import { EventStream, type HomeEvent, type Link } from "./api/events";
import { Freshness } from "./api/freshness";
import type { Settings } from "./api/settings";
import { SignedOut, type Session } from "./auth/session";
import { CameraPage } from "./cameras/CameraPage";
import { keys } from "./cameras/queries";
import { Wall } from "./cameras/Wall";
import { RegisterPage } from "./registration/RegisterPage";
import { ErrorBoundary } from "./ui/ErrorBoundary";
import { Frame } from "./ui/Frame";
import { HomeContext } from "./ui/home";
import { texts } from "./ui/texts";
import { Deletions } from "./videos/deletions";
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
  const deletions = useMemo(() => new Deletions((clip, { leaving }) => deleteClip(api, clip, leaving)), [api]);
  useEffect(() => {
    window.addEventListener("pagehide", deletions.leave);
    return () => {
      window.removeEventListener("pagehide", deletions.leave);
    };
  }, [deletions]);
  useEffect(() => {
    const freshness = new Freshness(queries);
    const stream = new EventStream(settings.socket, () => ticketOf(api), {
      onEvent: (event) => {
        for (const key of madeOldBy(event)) freshness.mark(key);
      },
      onLink: setLink,
      onGap: () => {
        freshness.mark([]);
      },
      onSignedOut: () => void session.begin(here()),
    });
    stream.start();
    return () => {
      stream.stop();
    };
  }, [settings, api, queries, session]);
  const home = useMemo(() => ({ api, deletions, link, session, settings }), [api, deletions, link, session, settings]);
  return (
    <QueryClientProvider client={queries}>
      <HomeContext value={home}>
        <BrowserRouter>
          <Frame>
            <Pages />
          </Frame>
        </BrowserRouter>
      </HomeContext>
    </QueryClientProvider>
  );
}

function Pages(): ReactNode {
  const { pathname } = useLocation();
  return (
    <ErrorBoundary key={pathname}>
      <Routes>
        <Route path="/" element={<Wall />} />
        <Route path="/events" element={<EventsPage />} />
        <Route path="/cameras/:thing" element={<CameraPage />} />
        <Route path="/register" element={<RegisterPage />} />
        <Route path="*" element={<p className="notice">{texts.notFound}</p>} />
      </Routes>
    </ErrorBoundary>
  );
}

function here(): string {
  return location.pathname + location.search;
}

function createQueries(session: Session): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        retry: (failures, error) => {
          if (error instanceof SignedOut) {
            void session.begin(here());
            return false;
          }
          return !(error instanceof ApiError && error.status < 500) && failures < 3;
        },
      },
    },
  });
}

async function ticketOf(api: Api): Promise<string> {
  const { data } = await api.POST("/tokens");
  if (data === undefined) throw new Error("no ticket");
  return data.token;
}

async function deleteClip(api: Api, clip: { thingName: string; video: string }, leaving: boolean): Promise<void> {
  const path = { thing: clip.thingName, video: clip.video };
  try {
    await api.DELETE("/videos/{video}/cameras/{thing}", { params: { path }, keepalive: leaving });
  } catch (error) {
    // It is gone: somebody else was quicker.
    if (!(error instanceof ApiError && error.status === 404)) throw error;
  }
}

/** What has to be asked for anew after an event. */
function madeOldBy(event: HomeEvent): readonly (readonly string[])[] {
  switch (event.type) {
    case "clip_stored":
      return [keys.cameras, keys.allClips];
    case "clip_deleted":
      return [keys.allClips];
    case "job_progress":
      return [];
    default:
      return [keys.cameras];
  }
}
