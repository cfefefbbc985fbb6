package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// queueCommands are the commands about queues that a log has and the metadata does not
// know.
type queueCommands struct {
	Orphans queueOrphans `cmd:"" help:"List the queues that the log has and the metadata does not know."`
	Adopt   queueAdopt   `cmd:"" help:"Make one of them a queue again, with its messages."`
	Discard queueDiscard `cmd:"" help:"Drop one of them with its messages, for good."`
}

type queueOrphans struct{ apiFlags }

// Run prints the orphans.
func (c *queueOrphans) Run(ctx context.Context, con *console) error {
	var all []map[string]any
	if err := c.call(ctx, http.MethodGet, "orphans", nil, &all); err != nil {
		return err
	}
	for _, o := range all {
		if o["oldest"] == nil {
			o["oldest"] = "-"
		}
	}
	return c.show(con.stdout, all, column{"ORPHAN", "orphan"}, column{"VHOST", "vhost"}, column{"NAME", "name"},
		column{"TYPE", "type"}, column{"MESSAGES", "messages"}, column{"OLDEST", "oldest"})
}

type queueAdopt struct {
	apiFlags
	Orphan     string `arg:"" help:"Number of the orphan, as listed."`
	As         string `help:"Name of the queue, instead of that which the log has." placeholder:"NAME"`
	Vhost      string `help:"Virtual host, where the log does not tell it." placeholder:"NAME"`
	Arguments  string `help:"Arguments of the queue as a JSON object; what the log tells of is added." placeholder:"JSON"`
	AutoDelete bool   `help:"Make it an auto-delete queue."`
}

// Run makes the orphan a queue.
func (c *queueAdopt) Run(ctx context.Context, con *console) error {
	body := map[string]any{"name": c.As, "vhost": c.Vhost, "auto_delete": c.AutoDelete}
	if c.Arguments != "" {
		if !json.Valid([]byte(c.Arguments)) {
			return &usageError{fmt.Errorf("arguments are no JSON: %s", c.Arguments)}
		}
		body["arguments"] = json.RawMessage(c.Arguments)
	}
	var made struct {
		Name string `json:"name"`
	}
	if err := c.call(ctx, http.MethodPost, path("orphans", c.Orphan, "adopt"), body, &made); err != nil {
		return err
	}
	_, err := fmt.Fprintf(con.stdout, "queue %s has its messages again; bind it anew where it was bound\n", cell(made.Name))
	return err
}

type queueDiscard struct {
	apiFlags
	Orphan string `arg:"" help:"Number of the orphan, as listed."`
	Yes    bool   `help:"Confirm that its messages may go for good."`
}

// Run drops the orphan.
func (c *queueDiscard) Run(ctx context.Context, con *console) error {
	if !c.Yes {
		return &usageError{fmt.Errorf("the messages of orphan %s would be gone for good: add --yes", c.Orphan)}
	}
	var gone struct {
		Messages uint64 `json:"messages"`
	}
	if err := c.call(ctx, http.MethodDelete, path("orphans", c.Orphan), nil, &gone); err != nil {
		return err
	}
	_, err := fmt.Fprintf(con.stdout, "%d messages dropped\n", gone.Messages)
	return err
}
