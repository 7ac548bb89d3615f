import { useState, type ReactNode } from "react";

interface Props {
  /** Its address, which is another one each time it is asked for, and good for some minutes. */
  readonly src: string | null;
  /** What it shows: as long as that is the same, a picture that is there stays as it is. */
  readonly identity: string;
  readonly alt?: string;
  /** What stands in the box when there is none. */
  readonly missing: string;
}

/** A picture in its box, which keeps its place before, after, and without it. */
export function Picture({ src, identity, alt = "", missing }: Props): ReactNode {
  const [shown, show] = useState({ src, identity, state: "waiting" as "waiting" | "there" | "failed" });
  if (shown.identity !== identity || (shown.src !== src && shown.state !== "there")) {
    show({ src, identity, state: "waiting" });
  }
  if (shown.src === null || shown.state === "failed") return <span className="picture empty">{missing}</span>;
  return (
    <span className="picture">
      <img
        src={shown.src}
        alt={alt}
        loading="lazy"
        onLoad={() => {
          show((now) => ({ ...now, state: "there" }));
        }}
        onError={() => {
          show((now) => ({ ...now, state: "failed" }));
        }}
      />
    </span>
  );
}
