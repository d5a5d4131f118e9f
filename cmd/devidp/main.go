// Command devidp runs the development OpenID provider, and on demand a small API that
// takes its tokens. It listens on loopback only: its users' passwords are public and it
// hands out every token at /dev/issued.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"genkan/internal/devidp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the command line's.
type options struct {
	listen, apiListen string
	api               bool
	provider          devidp.Config
	clients, filed    []devidp.Client // of --client and --client-file

	mtlsListen, mtlsCA string

	assertions, assertionAudience string // of the demo API
}

// run returns the exit status: 2 for wrong usage, 1 for a failure.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // flag has said why
	}
	if err := serve(ctx, o, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "devidp:", err)
		return 1
	}
	return 0
}

func parse(args []string, stdout, stderr io.Writer) (options, error) {
	var o options
	client := devidp.DevClient()
	flags := flag.NewFlagSet("devidp", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), "Usage: devidp [flags]\n\nAn OpenID provider for development and tests, for this machine only.\n"+
			"Client genkan-dev, secret genkan-dev-secret; users alice and bob, password \"password\".\n\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.listen, "listen", "127.0.0.1:9000", "`address` to listen on, loopback only; port 0 takes a free one")
	flags.StringVar(&o.provider.Issuer, "issuer", "", "issuer `URL` (default http:// and the address)")
	flags.StringVar(&o.provider.Audience, "audience", "http://127.0.0.1:9100", "`aud` of access tokens, which the demo API demands")
	flags.DurationVar(&o.provider.AccessLifetime, "access-lifetime", 5*time.Minute, "how long access tokens are good")
	flags.DurationVar(&o.provider.IDLifetime, "id-lifetime", 5*time.Minute, "how long ID tokens are good")
	flags.DurationVar(&o.provider.RefreshLifetime, "refresh-lifetime", 24*time.Hour, "how long a refresh token is good")
	flags.BoolVar(&o.provider.SkipConsent, "skip-consent", false, "do not ask for consent")
	flags.BoolVar(&o.provider.ThinIDToken, "thin-id-token", false, "give the user's claims in UserInfo only")
	list(flags, "redirect-uri", "`URI` that every client may also use (repeatable)", &client.RedirectURIs)
	list(flags, "post-logout-uri", "post-logout `URI` that every client may also use (repeatable)", &client.PostLogoutURIs)
	list(flags, "scope", "another `scope` that clients may ask for (repeatable)", &o.provider.Scopes)
	list(flags, "target", "another `audience` or resource that access tokens may be exchanged or asked for (repeatable)", &o.provider.Targets)
	apiFlags(flags, &o)
	flags.Func("client", "another client, as `ID:SECRET`, or ID alone for a public one (repeatable)", func(text string) error {
		id, secret, _ := strings.Cut(text, ":")
		o.clients = append(o.clients, devidp.Client{ID: id, Secret: secret})
		return nil
	})
	oauthFlags(flags, &o)
	clientFlags(flags, &client)
	if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		flags.SetOutput(stdout)
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "devidp: there is no argument %q; see devidp -h\n", flags.Arg(0))
		return o, errors.New("usage")
	}
	client.Audiences = append(client.Audiences, o.provider.Audience)
	o.provider.Clients = o.registrations(client)
	return o, nil
}

// registrations are base and the others, which have base's addresses too. A client of a
// file takes the place of base when it has its id.
func (o options) registrations(base devidp.Client) []devidp.Client {
	var clients []devidp.Client
	if !slices.ContainsFunc(o.filed, func(c devidp.Client) bool { return c.ID == base.ID }) {
		clients = append(clients, base)
	}
	for _, c := range slices.Concat(o.filed, o.clients) {
		c.RedirectURIs = append(c.RedirectURIs, base.RedirectURIs...)
		c.PostLogoutURIs = append(c.PostLogoutURIs, base.PostLogoutURIs...)
		clients = append(clients, c)
	}
	return clients
}

func list(flags *flag.FlagSet, name, usage string, into *[]string) {
	flags.Func(name, usage, func(text string) error {
		*into = append(*into, text)
		return nil
	})
}

// serve returns when ctx ends or a server fails.
func serve(ctx context.Context, o options, stdout io.Writer) error {
	listener, err := listen(o.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	if o.provider.Issuer == "" {
		o.provider.Issuer = "http://" + listener.Addr().String()
	}
	provider, err := devidp.New(o.provider)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.Handle("/dev/", provider.DevHandler())
	services := []service{{listener, mux}}
	if o.mtlsListen != "" {
		tlsListener, base, err := listenMTLS(o)
		if err != nil {
			return err
		}
		defer tlsListener.Close()
		provider.SetMTLSBase(base)
		services = append(services, service{tlsListener, provider})
	}
	line := "devidp: listening on " + o.provider.Issuer
	if o.api {
		apiListener, err := listen(o.apiListen)
		if err != nil {
			return err
		}
		defer apiListener.Close()
		services = append(services, service{apiListener, o.demoAPI()})
		line += ", demo API on http://" + apiListener.Addr().String()
	}
	_, _ = fmt.Fprintln(stdout, line)
	return serveAll(ctx, services)
}

type service struct {
	listener net.Listener
	handler  http.Handler
}

// serveAll returns when ctx ends, which is no error, or when a server fails. Requests
// under way have five seconds to finish; those that wait on purpose end at once.
func serveAll(ctx context.Context, services []service) error {
	base, release := context.WithCancel(context.Background())
	defer release()
	failed := make(chan error, len(services))
	var servers []*http.Server
	for _, s := range services {
		server := &http.Server{
			Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
			BaseContext: func(net.Listener) context.Context { return base },
		}
		servers = append(servers, server)
		go func() { failed <- server.Serve(s.listener) }()
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-failed:
	}
	release()
	deadline, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	for _, server := range servers {
		_ = server.Shutdown(deadline)
	}
	return failure
}

func listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	bound, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil || !bound.Addr().IsLoopback() {
		_ = listener.Close()
		return nil, fmt.Errorf("%s is not a loopback address, and this provider's passwords are public", address)
	}
	return listener, nil
}
