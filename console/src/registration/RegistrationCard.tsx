import type { ReactNode } from "react";
import { Link } from "react-router";

import type { Registration } from "../api/client";
import { useCameras } from "../cameras/queries";
import { pathOf } from "../cameras/paths";
import { Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { clockTime, exactTime } from "../ui/time";
import { DecisionForm } from "./DecisionForm";
import { inWords, useDecide, useRegistration } from "./queries";

const words = texts.register;

interface Props {
  readonly code: string;
  readonly another: () => void;
}

/** The device that shows a code, and what becomes of it. */
export function RegistrationCard({ code, another }: Props): ReactNode {
  const registration = useRegistration(code);
  const decide = useDecide(code);
  const back = (
    <button type="button" onClick={another}>
      {words.another}
    </button>
  );
  if (decide.data?.state === "denied") return <Outcome text={words.denied}>{back}</Outcome>;
  if (decide.data?.thingName) return <LetIn thing={decide.data.thingName} />;
  if (registration.isPending) return <Loading />;
  if (registration.isError) {
    return (
      <>
        <p role="alert" className="wrong">
          {inWords(registration.error)}
        </p>
        {back}
      </>
    );
  }
  const found = registration.data;
  return (
    <>
      <h2>{words.asks}</h2>
      <Details found={found} />
      {found.state === "pending" ? (
        <DecisionForm
          decide={decide.mutate}
          isBusy={decide.isPending}
          problem={decide.isError ? inWords(decide.error) : undefined}
        />
      ) : (
        <Outcome text={words.decided[found.state] ?? found.state}>{back}</Outcome>
      )}
    </>
  );
}

function Details({ found }: { readonly found: Registration }): ReactNode {
  const rows: readonly (readonly [string, ReactNode])[] = [
    [words.code, <strong className="code">{found.userCode}</strong>],
    [words.address, found.sourceIp],
    [words.host, found.hostName === "" ? words.noHost : found.hostName],
    [words.key, found.keyKind],
    [words.fingerprint, <code className="fingerprint">{found.fingerprint}</code>],
    [words.askedAt, exactTime(found.requestedAt)],
    [words.expires, clockTime(found.expiresAt)],
  ];
  return (
    <dl className="details">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Outcome({ text, children }: { readonly text: string; readonly children: ReactNode }): ReactNode {
  return (
    <>
      <p role="status">{text}</p>
      {children}
    </>
  );
}

/** The list is asked for anew at every push, so it tells when the camera has come. */
function LetIn({ thing }: { readonly thing: string }): ReactNode {
  const camera = useCameras().data?.find((each) => each.thingName === thing);
  const isThere = camera?.online === true;
  return (
    <>
      <p role="status">
        {words.done(camera?.displayName ?? thing)} {isThere ? words.connected : words.waiting}
      </p>
      {camera !== undefined && (
        <Link className={isThere ? "button main" : "button"} to={pathOf(camera)}>
          {words.toCamera}
        </Link>
      )}
    </>
  );
}
