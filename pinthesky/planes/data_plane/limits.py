"""What a WebSocket of the data plane may do. API Gateway's limits hold in both homes, so a console lives with both.

Source of the first three: Amazon API Gateway, "Quotas for WebSocket APIs".
"""

from __future__ import annotations

MESSAGE_MAX = 128 * 1024
"""Most bytes of a message, in either direction."""
IDLE_S = 10 * 60
"""A connection over which nothing comes in or goes out for so long is closed: send `status` more often than that."""
LIFETIME_S = 2 * 3600
"""A connection is closed at this age, whatever happens on it: connect anew and log in with `after`."""
SIGN_IN_S = 60
"""A connection over which nobody has logged in is closed after so long."""
SIGN_IN_TRIES_MAX = 5
"""So many logins may fail before a connection is closed."""
MESSAGES_MAX = 120
"""Most messages of a connection in each WINDOW_S; those above it are answered with 429."""
MESSAGES_BEFORE_CLOSING = 4 * MESSAGES_MAX
"""A connection that goes on regardless is closed at so many."""
WINDOW_S = 60
OF_PERSON_MAX = 32
"""Most connections of one person."""
SESSIONS_MAX = 32
"""Most live views that one connection has started and not stopped."""
MISSED_MAX = 100
"""Most events in the answer to a login, and"""
MISSED_BYTES_MAX = 96 * 1024
"""most bytes of them: the answer has to be a message."""
REQUEST_ID_MAX = 128
"""Most characters of a caller's name for a request."""
