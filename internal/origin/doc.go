// Package origin decides, from the public URLs and the browser app's origins
// alone, everything a browser will hold us to: cookie attributes, CORS, redirect
// and return URLs, loopback spellings, and whether a request may use the session.
//
// It keeps no request state and reads no settings. Its rules are those of
// rfc6265bis, the Fetch standard, RFC 10017 and of what browsers were measured to
// do; each Decision names the one it came from.
package origin
