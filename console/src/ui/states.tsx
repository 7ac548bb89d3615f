import type { ReactNode } from "react";

import { texts } from "./texts";

/** What screen readers hear while something loads; eyes see the boxes that it comes into. */
export function Loading({ children }: { readonly children?: ReactNode }): ReactNode {
  return (
    <>
      <p className="hidden" role="status">
        {texts.loading}
      </p>
      {children}
    </>
  );
}

/** The boxes of cards that are still to come. */
export function CardsToCome({ className, count }: { readonly className: string; readonly count: number }): ReactNode {
  return (
    <Loading>
      <ul className={className} aria-hidden="true">
        {Array.from({ length: count }, (_, index) => (
          <li key={index} className="card">
            <span className="picture to-come" />
            <span className="card-words">
              <span className="line to-come" />
              <span className="line short to-come" />
            </span>
          </li>
        ))}
      </ul>
    </Loading>
  );
}

export function Failed({ error, retry }: { readonly error: Error; readonly retry: () => void }): ReactNode {
  return (
    <div className="notice fault" role="alert">
      <p>
        {texts.failed} {error.message}
      </p>
      <button type="button" onClick={retry}>
        {texts.retry}
      </button>
    </div>
  );
}
