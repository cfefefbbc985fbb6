package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/metadata"
)

const (
	apiTimeout = 30 * time.Second
	maxAnswer  = 64 << 20
)

// apiFlags say how a command reaches the broker's HTTP API.
type apiFlags struct {
	URL           string          `help:"HTTP side of the broker." default:"http://127.0.0.1:15672" env:"TIDEGATE_URL"`
	Login         string          `help:"User to log in as; needs the tag administrator." default:"guest" env:"TIDEGATE_LOGIN"`
	LoginPassword metadata.Secret `help:"Password of that user." default:"guest" env:"TIDEGATE_LOGIN_PASSWORD"`
	JSON          bool            `help:"Print JSON instead of a table." name:"json"`
}

// path joins escaped segments below /api/.
func path(segments ...string) string {
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}

// call sends a request and reads the answer into the value that to points to,
// if it is not nil. A refusal is an error with the broker's words.
func (f *apiFlags) call(ctx context.Context, method, path string, body, to any) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	target := strings.TrimRight(f.URL, "/") + "/api/" + path
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(text))
	if err != nil {
		return &usageError{fmt.Errorf("url: %w", err)}
	}
	req.SetBasicAuth(f.Login, string(f.LoginPassword))
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the broker: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // nothing more is read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return refusal(resp.Status, answer)
	}
	if to == nil {
		return nil
	}
	if err := json.Unmarshal(answer, to); err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	return nil
}

// refusal is the error that an answer tells of.
func refusal(status string, answer []byte) error {
	var words struct {
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(answer, &words); err != nil || words.Reason == "" {
		return fmt.Errorf("the broker answers %s", status)
	}
	return errors.New(words.Reason)
}

// column is one of a table: the heading and the member of the objects.
type column struct{ heading, member string }

// show prints objects as a table, or as the JSON that they are.
func (f *apiFlags) show(w io.Writer, objects []map[string]any, columns ...column) error {
	if f.JSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(objects)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var line []string
	for _, c := range columns {
		line = append(line, c.heading)
	}
	for i := -1; i < len(objects); i++ {
		if i >= 0 {
			line = line[:0]
			for _, c := range columns {
				line = append(line, cell(objects[i][c.member]))
			}
		}
		if _, err := fmt.Fprintln(table, strings.Join(line, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}

// cell shows a value in a table. Control characters are shown as escapes, so
// that a name can't forge lines.
func cell(v any) string {
	text := fmt.Sprint(v)
	if list, ok := v.([]any); ok {
		words := make([]string, len(list))
		for i := range list {
			words[i] = fmt.Sprint(list[i])
		}
		text = strings.Join(words, ",")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
