package mqtt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// defaultNamespace is where clients are that name none.
const defaultNamespace = "/"

// handshake reads the CONNECT and answers it. Without an error the CONNACK is
// in the output and the connection is attached to its session.
func (c *conn) handshake(ctx context.Context) error {
	disturbed := make(chan struct{})
	undisturbed := context.AfterFunc(ctx, func() {
		defer close(disturbed)
		c.tolerate(c.nc.SetReadDeadline(time.Now()))
	})
	defer undisturbed()
	p, err := c.readConnect(ctx)
	if p != nil {
		c.v5 = p.V5
		c.out.maxPacket = int(p.MaximumPacketSize)
	}
	if err != nil {
		if fault, ok := asFault(err); ok && p != nil {
			return c.refuse(fault.Reason, fault.Detail)
		}
		return err
	}
	if err := c.authenticate(ctx, p); err != nil {
		return err
	}
	ack, err := c.attach(ctx, p)
	if err != nil {
		return err
	}
	b, err := ack.Append(nil, c.v5)
	if err != nil {
		c.dropWill()
		c.detach(ctx)
		return err
	}
	if !undisturbed() { // the client is there all the same, and is told goodbye; reading sets its own deadline
		<-disturbed
	}
	c.reader.packets.Limit = c.srv.limit
	c.reader.packets.Strict = c.v5
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if !c.out.closed { // else taken over already
		c.out.put(append(c.out.bytes(), b...))
		c.out.open = true
	}
	return nil
}

// readConnect reads the first packet, which must be a CONNECT and must come in
// time. The packet is not nil when its protocol version is known.
func (c *conn) readConnect(ctx context.Context) (*wire.Connect, error) {
	deadline := time.Now().Add(c.srv.cfg.ConnectTimeout)
	if err := c.nc.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set login deadline: %w", err)
	}
	if err := ctx.Err(); err != nil { // as of now it would not be noticed any more
		return nil, fmt.Errorf("read CONNECT: %w", err)
	}
	for {
		h, body, ok, err := c.reader.packets.Packet()
		switch {
		case err != nil:
			return nil, err
		case ok && h.Type != wire.TypeConnect:
			return nil, &wire.Error{Reason: wire.ProtocolError, Detail: "first packet is no CONNECT"}
		case ok:
			return wire.DecodeConnect(body)
		}
		if err := c.reader.packets.Fill(); err != nil {
			return nil, fmt.Errorf("read CONNECT: %w", err)
		}
	}
}

// refuse answers the CONNECT with a refusal. 3.1.1 has no code for a malformed
// packet and closes without a word.
func (c *conn) refuse(reason wire.Reason, detail string) error {
	fault := &wire.Error{Reason: reason, Detail: detail}
	if !c.v5 && (reason == wire.MalformedPacket || reason == wire.ProtocolError) {
		return fault
	}
	ack := wire.Connack{Reason: reason, Detail: detail}
	b, err := ack.Append(nil, c.v5)
	if err == nil && !c.out.fits(len(b)) {
		ack.Detail = ""
		b, err = ack.Append(nil, c.v5)
	}
	if err != nil {
		return err
	}
	if !c.out.fits(len(b)) {
		return fault
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(lingerTime)); err != nil {
		return fmt.Errorf("refuse CONNECT: %w", err)
	}
	if _, err := c.nc.Write(b); err != nil {
		return fmt.Errorf("refuse CONNECT: %w", err)
	}
	c.closeWrite()
	c.linger()
	return fault
}

// authenticate logs the client in, finds its namespace and checks its will.
func (c *conn) authenticate(ctx context.Context, p *wire.Connect) error {
	if p.AuthMethod != "" {
		return c.refuse(wire.BadAuthMethod, "enhanced authentication is not supported")
	}
	c.clientID = p.ClientID
	if p.ClientID == "" {
		if !p.V5 && !p.Clean {
			return c.refuse(wire.ClientIDNotValid, "a persistent session needs a client identifier")
		}
		c.clientID = "auto-" + rand.Text()
	}
	principal, err := c.srv.auth.Login(ctx, c.identify(p))
	switch {
	case err != nil && errors.Is(err, gateway.ErrRefused):
		return c.refuse(wire.BadUserOrPassword, "login refused")
	case err != nil:
		c.log().Warn("login", slog.Any("error", err))
		return c.refuse(wire.ServerUnavailable, "login is not possible now")
	case !principal.CanAccess(c.namespace):
		return c.refuse(wire.NotAuthorized, "no access to the namespace")
	}
	c.principal = principal
	return c.checkWill(p.Will)
}

// identify returns who the client says that it is, and sets its namespace. One
// that gives neither name nor password is who its certificate says; its
// namespace is the default one then, as that of anonymous clients is.
func (c *conn) identify(p *wire.Connect) gateway.Login {
	login := gateway.Login{
		Password: string(p.Password),
		Loopback: c.nc.Loopback,
		Remote:   c.nc.RemoteAddr().String(),
	}
	switch unnamed := !p.HasUser && len(p.Password) == 0; {
	case unnamed && c.nc.Certified:
		c.namespace, login.User, login.Certified = defaultNamespace, c.nc.Identity, true
	default:
		login.Anonymous = unnamed
		c.namespace, login.User = c.srv.splitUser(p.User)
	}
	return login
}

// splitUser takes the namespace off a user name of the form namespace:user.
// Without one that exists the whole is the user, in the default namespace.
func (s *Server) splitUser(name string) (namespace, user string) {
	if i := strings.LastIndexByte(name, ':'); i >= 0 && s.broker.HasNamespace(name[:i]) {
		return name[:i], name[i+1:]
	}
	return defaultNamespace, name
}

func (c *conn) checkWill(w *wire.Will) error {
	switch {
	case w == nil:
		return nil
	case w.Topic[0] == '$':
		return c.refuse(wire.TopicNameInvalid, "will topic is reserved")
	case len(w.Payload) > c.srv.broker.MaxMessageSize():
		return c.refuse(wire.QuotaExceeded, "will payload too large")
	case !mayWrite(c.principal, c.namespace, c.clientID, w.Topic):
		return c.refuse(wire.NotAuthorized, "not allowed to publish the will")
	}
	return nil
}

// attach opens the session and sets up the connection for it.
func (c *conn) attach(ctx context.Context, p *wire.Connect) (*wire.Connack, error) {
	expiry, capped := c.srv.cfg.sessionExpiry(p)
	c.expires, c.expiry = expiry > 0, expiry
	c.problemInfo = p.RequestProblemInfo
	c.out.aliases = session.NewAliasesOut(min(p.TopicAliasMaximum, c.srv.cfg.TopicAliases))
	c.reader.aliases = session.NewAliasesIn(c.srv.cfg.TopicAliases)
	c.in = session.NewInbound(int(c.srv.cfg.ReceiveMaximum), c.v5)
	c.setKeepAlive(p)
	if err := c.announce(); err != nil {
		return nil, c.refuse(wire.QuotaExceeded, err.Error())
	}
	ack := c.connack(p, capped)
	if b, err := ack.Append(nil, c.v5); err != nil {
		return nil, err
	} else if !c.out.fits(len(b)) {
		return nil, c.refuse(wire.PacketTooLarge, "CONNACK larger than the client takes")
	}
	s, present, err := c.srv.broker.OpenSession(ctx, c.namespace, core.SessionSpec{
		ClientID: c.clientID,
		Owner:    c.principal.User,
		Clean:    p.Clean,
		Expiry:   expiry,
		Will:     engineWill(p.Will),
		Admit:    c.admitSession,
		Kicked:   c.kicked,
		Notify:   c.flush.wake,
		Live:     c.live,
	})
	switch {
	case errors.Is(err, errNotAllowed):
		return nil, c.refuse(wire.NotAuthorized, errNotAllowed.Error())
	case err != nil:
		return nil, c.refuse(reasonsFor(err).connack, "session refused")
	}
	c.session = s
	c.subs.Store(newSubscriptions(s.Subscriptions()))
	if err := c.join(c.window(p)); err != nil {
		c.log().Warn("attach session", slog.Any("error", err))
		c.giveUp(ctx)
		return nil, c.refuse(reasonsFor(err).connack, "session not available")
	}
	ack.SessionPresent = present
	return ack, nil
}

// errNotAllowed refuses a session that would go on with what its user may not read.
var errNotAllowed = errors.New("the session has subscriptions that are not allowed any more")

// admitSession tells whether the client may go on with a session of these subscriptions.
func (c *conn) admitSession(subs []core.Subscription) error {
	rule := c.readRule()
	for i := range subs {
		if !rule.keeps(subs[i].Filter) {
			return errNotAllowed
		}
	}
	return nil
}

// giveUp closes the session of a client that is refused. There is no will then.
func (c *conn) giveUp(ctx context.Context) {
	c.dropWill()
	if err := c.session.Close(context.WithoutCancel(ctx)); err != nil {
		c.log().Warn("close session", slog.Any("error", err))
	}
}

// window is how many unacknowledged messages the client takes at a time.
func (c *conn) window(p *wire.Connect) int {
	if c.v5 {
		return int(p.ReceiveMaximum)
	}
	return int(c.srv.cfg.Window)
}

func (c *conn) setKeepAlive(p *wire.Connect) {
	c.keepAlive = p.KeepAlive
	if limit := c.srv.cfg.MaxKeepAlive; c.v5 && limit > 0 && (c.keepAlive == 0 || c.keepAlive > limit) {
		c.keepAlive = limit
	}
}

// connack is the answer to a CONNECT that is accepted, as far as it is known before the
// session is.
func (c *conn) connack(p *wire.Connect, capped bool) *wire.Connack {
	ack := &wire.Connack{
		HasSessionExpiry:  capped,
		SessionExpiry:     uint32(min(c.expiry/time.Second, forever)),
		HasKeepAlive:      c.keepAlive != p.KeepAlive,
		KeepAlive:         uint16(c.keepAlive / time.Second),
		ReceiveMaximum:    c.srv.cfg.ReceiveMaximum,
		TopicAliasMaximum: c.srv.cfg.TopicAliases,
		MaximumPacketSize: uint32(c.srv.limit),
	}
	if p.ClientID == "" {
		ack.AssignedClientID = c.clientID
	}
	return ack
}
