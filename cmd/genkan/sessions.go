package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"genkan/internal/config"
)

// adminFlags say which Genkan to talk to.
type adminFlags struct {
	src *config.Sources
	url string
}

func sessionsCommand(p *program) *cobra.Command {
	cmd := group("sessions", "List and end the sessions of a running Genkan")
	cmd.Long = `List and end the sessions of a running Genkan.

It is asked at server.admin_listen, or at --url, with server.admin_token if that
is set. Run it with the settings of the server.`
	f := &adminFlags{src: p.sourceFlags(cmd)}
	cmd.PersistentFlags().StringVar(&f.url, "url", "", "`URL` of the admin listener (default from server.admin_listen)")
	cmd.AddCommand(p.listCommand(f), p.revokeCommand(f))
	return cmd
}

func (p *program) listCommand(f *adminFlags) *cobra.Command {
	var sub string
	var asJSON bool
	cmd := leaf("list", "List sessions, the latest sign-in first", cobra.NoArgs, func([]string) error {
		return p.listSessions(f, sub, asJSON)
	})
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return refuseEmpty(cmd, "url", "sub") }
	cmd.Flags().StringVar(&sub, "sub", "", "only those of the user with this `SUBJECT`, the provider's sub claim")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) revokeCommand(f *adminFlags) *cobra.Command {
	var sub, sid string
	var all, yes bool
	cmd := leaf("revoke", "End sessions, at once and on every replica", cobra.NoArgs, func([]string) error {
		switch {
		case sid != "":
			return p.revokeOne(f, sid)
		case sub != "":
			return p.revokeMany(f, url.Values{"sub": {sub}})
		case all:
			return p.revokeMany(f, url.Values{"all": {"true"}})
		}
		return errors.New("--all=false ends nothing")
	})
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case cmd.Flags().Changed("sid") && !sessionID.MatchString(sid):
			return errors.New("--sid is an id that genkan sessions list shows")
		case all && !yes && cmd.ValidateFlagGroups() == nil && !p.confirmed(cmd.InOrStdin()):
			return errors.New("nothing was ended: --all signs everybody out; add --yes to mean it")
		}
		return refuseEmpty(cmd, "url", "sub")
	}
	flags := cmd.Flags()
	flags.StringVar(&sub, "sub", "", "those of the user with this `SUBJECT`, the provider's sub claim")
	flags.StringVar(&sid, "sid", "", "the session with this `ID`")
	flags.BoolVar(&all, "all", false, "everybody's")
	flags.BoolVar(&yes, "yes", false, "with --all, do not ask")
	cmd.MarkFlagsMutuallyExclusive("sub", "sid", "all")
	cmd.MarkFlagsOneRequired("sub", "sid", "all")
	return cmd
}

var sessionID = regexp.MustCompile(`^[0-9A-Za-z]{1,64}$`)

// refuseEmpty keeps an unset variable of a script from standing for something else.
func refuseEmpty(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if flag := cmd.Flag(name); flag.Changed && flag.Value.String() == "" {
			return fmt.Errorf("--%s is empty", name)
		}
	}
	return nil
}

// confirmed asks a person; without one the answer is no.
func (p *program) confirmed(stdin io.Reader) bool {
	if !terminal(stdin) || !terminal(p.stderr) {
		return false
	}
	_, _ = fmt.Fprint(p.stderr, "This signs everybody out. Type yes to go on: ")
	line, _ := bufio.NewReader(io.LimitReader(stdin, 100)).ReadString('\n')
	return strings.TrimSpace(line) == "yes"
}

// sessionList is what the admin listener says.
type sessionList struct {
	Sessions []struct {
		ID                string    `json:"id"`
		Provider          string    `json:"provider"`
		Subject           string    `json:"subject"`
		CreatedAt         time.Time `json:"created_at"`
		LastSeenAt        time.Time `json:"last_seen_at"`
		Browser           string    `json:"browser"`
		IP                string    `json:"ip"`
		IdleExpiresIn     int64     `json:"idle_expires_in"`
		AbsoluteExpiresIn int64     `json:"absolute_expires_in"`
	} `json:"sessions"`
	Truncated bool `json:"truncated"`
}

func (p *program) listSessions(f *adminFlags, sub string, asJSON bool) error {
	query := url.Values{}
	if sub != "" {
		query.Set("sub", sub)
	}
	var list sessionList
	if err := p.ask(f, http.MethodGet, "/admin/sessions", query, &list); err != nil {
		return err
	}
	if list.Sessions == nil {
		return notAdmin(http.StatusOK)
	}
	if asJSON {
		text, err := json.MarshalIndent(list, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.stdout, printableJSON(text))
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tUSER\tPROVIDER\tCREATED\tLAST SEEN\tBROWSER\tIP")
	for _, s := range list.Sessions {
		row := []string{s.ID, s.Subject, s.Provider, moment(s.CreatedAt), moment(s.LastSeenAt), s.Browser, s.IP}
		for i, cell := range row {
			row[i] = cmp.Or(printable(cell), "-")
		}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	note := plural(len(list.Sessions), "session")
	if list.Truncated {
		note += "; there may be more"
	}
	_, err := fmt.Fprintln(p.stderr, note)
	return err
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func (p *program) revokeOne(f *adminFlags, sid string) error {
	if err := p.ask(f, http.MethodDelete, "/admin/sessions/"+url.PathEscape(sid), nil, nil); err != nil {
		return err
	}
	return p.tellEnded(1)
}

func (p *program) revokeMany(f *adminFlags, query url.Values) error {
	var answer struct{ Ended *int }
	if err := p.ask(f, http.MethodDelete, "/admin/sessions", query, &answer); err != nil {
		return err
	}
	if answer.Ended == nil {
		return notAdmin(http.StatusOK)
	}
	return p.tellEnded(*answer.Ended)
}

func (p *program) tellEnded(count int) error {
	_, err := fmt.Fprintf(p.stdout, "%s ended.\n", plural(count, "session"))
	return err
}

const (
	// askLimit bounds one call; ending everybody's sessions takes a while.
	askLimit = 10 * time.Minute
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 16 << 20
)

// ask calls the admin listener and reads its answer into v; nil for an answer that says
// nothing but that it is done.
func (p *program) ask(f *adminFlags, method, path string, query url.Values, v any) error {
	settings, found := config.Administration(*f.src)
	if found.Failed() {
		printFindings(p.stderr, found)
		return errFound
	}
	base, err := adminURL(f.url, settings.AdminListen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	target := base.JoinPath(path)
	target.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return err
	}
	if !settings.AdminToken.Empty() {
		r.Header.Set("Authorization", "Bearer "+settings.AdminToken.Reveal())
	}
	client := http.Client{
		Timeout:       askLimit,
		Transport:     &http.Transport{}, // no proxy of the environment gets to see the token
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("no Genkan answers at %s: %w\nfix: start Genkan, or correct server.admin_listen or --url", base, errors.Unwrap(err))
	}
	defer res.Body.Close()
	return readAnswer(res, v)
}

// readAnswer reads what was asked for, or the problem that is there instead.
func readAnswer(res *http.Response, v any) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	var problem struct{ Code, Detail string }
	switch {
	case v == nil && res.StatusCode == http.StatusNoContent:
		return nil
	case v != nil && res.StatusCode == http.StatusOK && json.Unmarshal(body, v) == nil:
		return nil
	case json.Unmarshal(body, &problem) == nil && problem.Code != "":
		return fmt.Errorf("%s\nMore: genkan explain %s", printable(problem.Detail), printable(problem.Code))
	}
	return notAdmin(res.StatusCode)
}

func notAdmin(status int) error {
	return fmt.Errorf("what answers there (%d) is not the admin listener of this version of Genkan", status)
}

// adminURL is where the admin listener is reached: as given, or on this machine.
func adminURL(given, listen string) (*url.URL, error) {
	if given != "" {
		u, err := url.Parse(given)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("--url is not of the form http://host:port")
		}
		return u, nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("server.admin_listen: %w", err)
	}
	switch addr, _ := netip.ParseAddr(host); {
	case host == "" || addr == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case addr == netip.IPv6Unspecified():
		host = "::1"
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, nil
}

// printable writes out what could drive a terminal or pass for something else: users
// choose their names, and browsers what they call themselves.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// printableJSON does the same for JSON, where only strings can hold such a thing.
func printableJSON(text []byte) string {
	var b strings.Builder
	for _, r := range string(text) {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
