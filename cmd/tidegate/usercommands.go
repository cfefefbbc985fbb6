package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/tidegate/tidegate/metadata"
)

// userCommands are the commands about users.
type userCommands struct {
	Add    userAdd    `cmd:"" help:"Make a user."`
	Delete userDelete `cmd:"" help:"Delete a user with its permissions and end its connections."`
	Passwd userPasswd `cmd:"" help:"Change a user's password."`
	Tags   userTags   `cmd:"" help:"Replace a user's tags: administrator, monitoring, policymaker, management, impersonator."`
	List   userList   `cmd:"" help:"List the users."`
}

// newPassword is a password that is given on the command line or, better, in a file.
type newPassword struct {
	Password     string `arg:"" optional:"" help:"The password; left out, it is read from --password-file."`
	PasswordFile string `help:"File whose first line is the password; - is the standard input." default:"-" placeholder:"FILE"`
}

// read returns the password.
func (p *newPassword) read(stdin io.Reader) (metadata.Secret, error) {
	if p.Password != "" {
		return metadata.Secret(p.Password), nil
	}
	from := stdin
	if p.PasswordFile != "-" {
		file, err := os.Open(p.PasswordFile)
		if err != nil {
			return "", &usageError{fmt.Errorf("read password: %w", err)}
		}
		defer func() { _ = file.Close() }() // only read
		from = file
	}
	line, err := bufio.NewReader(io.LimitReader(from, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", &usageError{errors.New("the password is empty")}
	}
	return metadata.Secret(line), nil
}

type userAdd struct {
	apiFlags
	Name string `arg:"" help:"Name of the user."`
	newPassword
	Tags []string `help:"Tags of the user." placeholder:"TAG"`
}

// Run makes the user; one that exists is not changed.
func (c *userAdd) Run(ctx context.Context, con *console) error {
	var users []map[string]any
	if err := c.call(ctx, http.MethodGet, "users", nil, &users); err != nil {
		return err
	}
	for _, u := range users {
		if u["name"] == c.Name {
			return fmt.Errorf("user %q exists already", c.Name)
		}
	}
	password, err := c.read(con.stdin)
	if err != nil {
		return err
	}
	body := map[string]any{"password": password, "tags": orNone(c.Tags)}
	return c.call(ctx, http.MethodPut, path("users", c.Name), body, nil)
}

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

type userDelete struct {
	apiFlags
	Name string `arg:"" help:"Name of the user."`
}

// Run deletes the user.
func (c *userDelete) Run(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, path("users", c.Name), nil, nil)
}

type userPasswd struct {
	apiFlags
	Name string `arg:"" help:"Name of the user."`
	newPassword
}

// Run changes the password of a user that exists.
func (c *userPasswd) Run(ctx context.Context, con *console) error {
	if err := c.call(ctx, http.MethodGet, path("users", c.Name), nil, nil); err != nil {
		return err
	}
	password, err := c.read(con.stdin)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, path("users", c.Name), map[string]any{"password": password}, nil)
}

type userTags struct {
	apiFlags
	Name string   `arg:"" help:"Name of the user."`
	Tags []string `arg:"" optional:"" help:"The tags; none takes all from the user."`
}

// Run replaces the tags of a user that exists.
func (c *userTags) Run(ctx context.Context) error {
	if err := c.call(ctx, http.MethodGet, path("users", c.Name), nil, nil); err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, path("users", c.Name), map[string]any{"tags": orNone(c.Tags)}, nil)
}

type userList struct{ apiFlags }

// Run prints the users, without their password hashes.
func (c *userList) Run(ctx context.Context, con *console) error {
	var users []map[string]any
	if err := c.call(ctx, http.MethodGet, "users", nil, &users); err != nil {
		return err
	}
	for _, u := range users {
		delete(u, "password_hash")
	}
	return c.show(con.stdout, users, column{"NAME", "name"}, column{"TAGS", "tags"})
}
