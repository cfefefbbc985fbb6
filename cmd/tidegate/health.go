package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// healthTimeout bounds the whole question.
const healthTimeout = 5 * time.Second

// healthCommand asks /readyz of the broker with this configuration.
type healthCommand struct {
	settings
	ReadyFile string `help:"Take the address from this file, which serve wrote." placeholder:"FILE" type:"path"`
}

// Run asks and fails unless the broker is ready.
func (c *healthCommand) Run(ctx context.Context, con *console) error {
	addr, err := c.address()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	target := url.URL{Scheme: "http", Host: addr, Path: "/readyz"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // nothing more is read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s answers %s", target.String(), resp.Status)
	}
	_, err = io.WriteString(con.stdout, "ready\n")
	return err
}

// address returns where the broker's HTTP side can be reached from here.
func (c *healthCommand) address() (string, error) {
	if c.ReadyFile != "" {
		text, err := os.ReadFile(c.ReadyFile)
		if err != nil {
			return "", fmt.Errorf("health: %w", err)
		}
		var ready readyFile
		if err := json.Unmarshal(text, &ready); err != nil {
			return "", fmt.Errorf("health: read %s: %w", c.ReadyFile, err)
		}
		return reachable(ready.HTTP)
	}
	cfg, err := loadConfig(&c.settings)
	if err != nil {
		return "", err
	}
	if len(cfg.Listen.HTTP) == 0 {
		return "", &usageError{errors.New("health: listen.http is empty")}
	}
	return reachable(cfg.Listen.HTTP[0])
}

// reachable turns the address of a listener into one to connect to.
func reachable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return "", &usageError{fmt.Errorf("health: %w", err)}
	case port == "0":
		return "", &usageError{errors.New("health: the port was chosen at start; give --ready-file")}
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}
