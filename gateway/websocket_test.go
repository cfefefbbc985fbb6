package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/gateway"
)

func webSocket(serve serveFunc) gateway.Endpoint {
	return gateway.Endpoint{
		Name: "ws", Kind: gateway.WebSocket, Protocol: serve, Path: "/mqtt", Subprotocol: "mqtt",
	}
}

// client speaks HTTP over connections of its own, so that none is left over.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func dialWS(t *testing.T, url string, opts websocket.DialOptions) (*websocket.Conn, int) {
	t.Helper()
	opts.HTTPClient = client(t)
	opts.HTTPClient.Timeout = 0
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, url, &opts)
	if err != nil {
		if resp == nil {
			t.Fatalf("dial %s: %v", url, err)
		}
		_ = resp.Body.Close()
		return nil, resp.StatusCode
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, resp.StatusCode
}

func TestWebSocketBytes(t *testing.T) {
	loopback := make(chan bool, 1)
	s := run(t, gateway.DefaultConfig(), nil, webSocket(func(ctx context.Context, conn *gateway.Conn) error {
		loopback <- conn.Loopback
		return echo(ctx, conn)
	}))
	ws, _ := dialWS(t, "ws://"+s.address(t, "ws")+"/mqtt", websocket.DialOptions{
		Subprotocols: []string{"other", "mqtt"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if ws.Subprotocol() != "mqtt" {
		t.Errorf("subprotocol is %q, want mqtt", ws.Subprotocol())
	}
	if !<-loopback {
		t.Error("a local client is not loopback")
	}
	// One line in two messages, then two lines in one: borders mean nothing.
	for _, message := range []string{"he", "llo\n", "a\nb\n"} {
		if err := ws.Write(t.Context(), websocket.MessageBinary, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	var got strings.Builder
	for got.Len() < len("hello\na\nb\n") {
		kind, message, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if kind != websocket.MessageBinary {
			t.Errorf("message is %v, want binary", kind)
		}
		got.Write(message)
	}
	if got.String() != "hello\na\nb\n" {
		t.Errorf("got %q", got.String())
	}
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestWebSocketHandshake(t *testing.T) {
	cfg := gateway.DefaultConfig()
	cfg.WebSocketOrigins = []string{"https://*.example.org"}
	s := run(t, cfg, nil, webSocket(echo))
	base := "ws://" + s.address(t, "ws")
	for name, tc := range map[string]struct {
		path, subprotocol, origin string
		want                      int
	}{
		"no origin":         {"/mqtt", "mqtt", "", 101},
		"same host":         {"/mqtt", "mqtt", "http://" + s.address(t, "ws"), 101},
		"configured":        {"/mqtt", "mqtt", "https://console.example.org", 101},
		"foreign":           {"/mqtt", "mqtt", "https://evil.example.com", 403},
		"configured, plain": {"/mqtt", "mqtt", "http://console.example.org", 403},
		"null":              {"/mqtt", "mqtt", "null", 403},
		"no subprotocol":    {"/mqtt", "", "", 400},
		"other subprotocol": {"/mqtt", "mqttv3.1", "", 400},
		"other path":        {"/", "mqtt", "", 404},
	} {
		opts := websocket.DialOptions{HTTPHeader: http.Header{}}
		if tc.subprotocol != "" {
			opts.Subprotocols = []string{tc.subprotocol}
		}
		if tc.origin != "" {
			opts.HTTPHeader.Set("Origin", tc.origin)
		}
		if _, status := dialWS(t, base+tc.path, opts); status != tc.want {
			t.Errorf("%s: status %d, want %d", name, status, tc.want)
		}
	}
}

func TestWebSocketNoCompression(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), nil, webSocket(echo))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address(t, "ws")+"/mqtt", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mqtt",
		"Sec-WebSocket-Extensions": "permessage-deflate",
	} {
		req.Header.Set(k, v)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); resp.StatusCode != http.StatusSwitchingProtocols || got != "" {
		t.Errorf("status %d with extensions %q, want 101 with none", resp.StatusCode, got)
	}
}

func TestWebSocketNotLoopback(t *testing.T) {
	loopback := make(chan bool, 1)
	s := run(t, gateway.DefaultConfig(), nil, webSocket(func(_ context.Context, conn *gateway.Conn) error {
		loopback <- conn.Loopback
		return nil
	}))
	for name, opts := range map[string]websocket.DialOptions{
		"rebound name": {Host: "evil.example.com:8083"},
		"proxied":      {HTTPHeader: http.Header{"X-Forwarded-For": {"203.0.113.9"}}},
	} {
		opts.Subprotocols = []string{"mqtt"}
		dialWS(t, "ws://"+s.address(t, "ws")+"/mqtt", opts)
		if <-loopback {
			t.Errorf("%s: the connection counts as one from this machine", name)
		}
	}
}

func TestWebSocketTextRefused(t *testing.T) {
	result := make(chan error, 1)
	s := run(t, gateway.DefaultConfig(), nil, webSocket(func(_ context.Context, conn *gateway.Conn) error {
		_, err := conn.Read(make([]byte, 10))
		result <- err
		return err
	}))
	ws, _ := dialWS(t, "ws://"+s.address(t, "ws")+"/mqtt", websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("got %v, want a close with status %d", err, websocket.StatusUnsupportedData)
	}
	if err := <-result; err == nil {
		t.Error("the protocol got no error for a text message")
	}
}

func TestWebSocketGoodbyeAfterDeadline(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), nil, webSocket(func(_ context.Context, conn *gateway.Conn) error {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		_, err := io.WriteString(conn, "too late")
		return err
	}))
	ws, _ := dialWS(t, "ws://"+s.address(t, "ws")+"/mqtt", websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	_, got, err := ws.Read(t.Context())
	if err != nil || string(got) != "too late" {
		t.Errorf("got %q, %v; want what was written after the deadline", got, err)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("at the end: got %v, want a normal close", err)
	}
}

func TestWebSocketShutdown(t *testing.T) {
	s := run(t, gateway.DefaultConfig(), nil, webSocket(echo))
	ws, _ := dialWS(t, "ws://"+s.address(t, "ws")+"/mqtt", websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte("hi\n")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	_, got, err := ws.Read(t.Context())
	if err != nil || string(got) != "bye\n" {
		t.Errorf("at shutdown: got %q, %v; want bye", got, err)
	}
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("the connection is open after the goodbye")
	}
	if err := <-stopped; err != nil {
		t.Errorf("run: %v", err)
	}
}
