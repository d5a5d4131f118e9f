package finding

// GK3xx: sessions and keys.
var (
	KeysMissing = Row{"GK301", "keys_missing", 0, Error, "No session key",
		"Sessions are encrypted; without a key there is nothing to encrypt them with.",
		"Run `genkan keys new` and set GENKAN_SESSION_KEYS to what it prints."}
	KeyInvalid = Row{"GK302", "key_invalid", 0, Error, "A session key is not 32 random bytes in base64",
		"AES-256-GCM needs exactly 32 bytes; short, repeated or patterned keys can be guessed.",
		"Run `genkan keys new`."}
	KeyDuplicate = Row{"GK303", "key_duplicate", 0, Error, "The same session key twice",
		"Two equal keys say that a rotation was not done.", "Remove one of the two."}
	StoreInvalid = Row{"GK304", "store_invalid", 0, Error, "The session store cannot be opened",
		"The address is not understood, or the store cannot be reached with it.",
		"Correct session.store."}
	TimeoutInvalid = Row{"GK305", "timeout_invalid", 0, Error, "Session time-outs contradict each other",
		"The idle time-out must be positive and no longer than the absolute one.",
		"Correct session.idle_timeout or session.absolute_timeout."}
	Unauthenticated = Row{"GK310", "unauthenticated", 401, Info, "Not signed in",
		"There is no live session for this browser.",
		"Navigate to login_url."}
	SessionExpired = Row{"GK311", "session_expired", 401, Info, "The session is over",
		"It reached its time limit, or the provider no longer renews it.",
		"Navigate to login_url."}
	StoreUnavailable = Row{"GK320", "store_unavailable", 503, Error, "The session store does not answer",
		"Nobody is signed out by this; sessions are there again when the store is.",
		"Try again in a moment."}
	SessionTooLarge = Row{"GK321", "session_too_large", 502, Error, "The provider says too much about this user",
		"The user's claims are larger than a session may be; often it is a list of hundreds of groups.",
		"At the provider, limit the groups or claims that this application gets."}
	RefreshInherited = Row{"GK330", "refresh_inherited", 0, Warning, "A replica stopped while it renewed tokens",
		"Its lease ended without being given back, so another replica renews the session. If the provider had already answered the first one, and takes a refresh token only once, it refuses the second.",
		"Look for why the replica stopped. A grace period for rotated refresh tokens at the provider (Okta has one) closes the window."}
	RefreshLost = Row{"GK331", "refresh_lost", 0, Error, "Renewed tokens were lost",
		"The provider gave new tokens that could not be stored, or gave them to a replica that stopped before it stored them.",
		"Nothing to mend for this session: the user signs in again. Mend the store's outage, or what stopped the replica."}
)

var sessionRows = []Row{
	RefreshInherited, RefreshLost, KeysMissing, KeyInvalid, KeyDuplicate, StoreInvalid, TimeoutInvalid, Unauthenticated, SessionExpired, StoreUnavailable, SessionTooLarge,
}
