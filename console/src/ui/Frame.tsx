import { useEffect, useState, type ReactNode } from "react";
import { NavLink } from "react-router";

import { AccountMenu } from "../people/AccountMenu";
import { UndoBar } from "../videos/UndoBar";
import { useHome } from "./home";
import { texts } from "./texts";

const LOST_LONG_MS = 3_000;

/** What stands around every page: where one can go, whether the home is reached, and who one is. */
export function Frame({ children }: { readonly children: ReactNode }): ReactNode {
  const { link } = useHome();
  return (
    <>
      <a className="skip" href="#content">
        {texts.toContent}
      </a>
      <header className="bar">
        <strong className="brand">{texts.product}</strong>
        <nav aria-label={texts.places}>
          <NavLink to="/" end>
            {texts.home}
          </NavLink>
          <NavLink to="/events">{texts.events}</NavLink>
        </nav>
        <span className="link" role="status">
          <span className={`dot ${link === "live" ? "live" : "attention"}`} aria-hidden="true" />
          <span className="link-word">{texts[link]}</span>
        </span>
        <AccountMenu />
      </header>
      {link === "lost" && <LostLink />}
      <main id="content" tabIndex={-1}>
        {children}
      </main>
      <UndoBar />
    </>
  );
}

/** Said when it lasts: most losses are over before anybody has read of them. */
function LostLink(): ReactNode {
  const [lasts, setLasts] = useState(false);
  useEffect(() => {
    const timer = window.setTimeout(() => {
      setLasts(true);
    }, LOST_LONG_MS);
    return () => {
      window.clearTimeout(timer);
    };
  }, []);
  return lasts ? (
    <p className="banner" role="alert">
      {texts.lostLong}
    </p>
  ) : null;
}
