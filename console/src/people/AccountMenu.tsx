import { useState, type ReactNode } from "react";

import { useHome } from "../ui/home";
import { texts } from "../ui/texts";
import { exactTime, timeAgo } from "../ui/time";
import { useEndSession, useMe, useSessions, type SignedIn } from "./queries";
import { browserOf, nameOf, roleOf } from "./words";

/** Who one is, where one is signed in, and the way out. */
export function AccountMenu(): ReactNode {
  const { settings } = useHome();
  const me = useMe();
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" className="avatar" popoverTarget="account" aria-label={texts.people.account}>
        <span aria-hidden="true">{me.data === undefined ? "…" : nameOf(me.data).charAt(0).toUpperCase()}</span>
      </button>
      <div
        id="account"
        popover="auto"
        className="menu"
        role="dialog"
        aria-label={texts.people.account}
        onToggle={(event) => {
          setOpen(event.newState === "open");
        }}
      >
        {me.data !== undefined && (
          <p>
            <strong className="address">{nameOf(me.data)}</strong>
            {me.data.email !== null && (
              <>
                <br />
                <span className="quiet">{roleOf(me.data)}</span>
              </>
            )}
          </p>
        )}
        {isOpen && <SessionList />}
        <div className="menu-end">
          <a href={settings.passkeys}>{texts.people.passkeys}</a>
          <a href="/reference">{texts.reference}</a>
          {settings.signOut.startsWith("https:") ? (
            <a href={settings.signOut}>{texts.signOut}</a>
          ) : (
            <form method="post" action={settings.signOut}>
              <button type="submit">{texts.signOut}</button>
            </form>
          )}
        </div>
      </div>
    </>
  );
}

function SessionList(): ReactNode {
  const { session } = useHome();
  const sessions = useSessions({ enabled: true });
  const end = useEndSession();
  return (
    <section aria-label={texts.people.sessions}>
      <h2>{texts.people.sessions}</h2>
      {sessions.isError && <p role="alert">{sessions.error.message}</p>}
      <ul className="sessions">
        {sessions.data?.map((each) => (
          <li key={each.id}>
            <SessionWords each={each} isHere={each.id === session.id} />
            {each.id !== session.id && (
              <button
                type="button"
                aria-label={texts.people.endOf(browserOf(each.userAgent))}
                disabled={end.isPending}
                onClick={() => {
                  end.mutate(each.id);
                }}
              >
                {texts.people.end}
              </button>
            )}
          </li>
        ))}
      </ul>
      {end.isError && <p role="alert">{end.error.message}</p>}
    </section>
  );
}

function SessionWords({ each, isHere }: { readonly each: SignedIn; readonly isHere: boolean }): ReactNode {
  return (
    <span>
      {browserOf(each.userAgent)}
      <br />
      <span className="quiet" title={exactTime(each.usedAt)}>
        {isHere ? texts.people.here : texts.people.used(timeAgo(each.usedAt), each.sourceIp)}
      </span>
    </span>
  );
}
