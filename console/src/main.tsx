import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { loadSettings } from "./api/settings";
import { App } from "./App";
import { Session } from "./auth/session";
import { ErrorBoundary } from "./ui/ErrorBoundary";
import { Failed } from "./ui/states";
import "./ui/tokens.css";
import "./ui/base.css";

async function start(): Promise<void> {
  const element = document.getElementById("root");
  if (element === null) throw new Error("the page has no root");
  const root = createRoot(element);
  try {
    const settings = await loadSettings();
    const session = new Session(settings);
    const path = await session.complete();
    if (path !== undefined) history.replaceState(null, "", path);
    if (!session.isOpen) {
      await session.begin(location.pathname + location.search);
      return;
    }
    root.render(
      <StrictMode>
        <ErrorBoundary>
          <App settings={settings} session={session} />
        </ErrorBoundary>
      </StrictMode>,
    );
  } catch (error) {
    const shown = error instanceof Error ? error : new Error(String(error));
    root.render(
      <main>
        <Failed
          error={shown}
          retry={() => {
            location.assign("/");
          }}
        />
      </main>,
    );
  }
}

void start();
