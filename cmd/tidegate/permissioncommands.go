package main

import (
	"context"
	"net/http"
	"slices"
)

// permissionCommands are the commands about what users may do.
type permissionCommands struct {
	Set   permissionSet   `cmd:"" help:"Set what a user may do in a virtual host."`
	Clear permissionClear `cmd:"" help:"Take all that a user may do in a virtual host."`
	List  permissionList  `cmd:"" help:"List the permissions."`
}

type permissionSet struct {
	apiFlags
	Vhost     string `arg:"" help:"Name of the virtual host."`
	User      string `arg:"" help:"Name of the user."`
	Configure string `arg:"" help:"Regular expression on the names of queues and exchanges that it may declare and delete."`
	Write     string `arg:"" help:"… that it may publish to and bind."`
	Read      string `arg:"" help:"… that it may consume from and bind to."`
}

// Run sets the permission.
func (c *permissionSet) Run(ctx context.Context) error {
	body := map[string]string{"configure": c.Configure, "write": c.Write, "read": c.Read}
	return c.call(ctx, http.MethodPut, path("permissions", c.Vhost, c.User), body, nil)
}

type permissionClear struct {
	apiFlags
	Vhost string `arg:"" help:"Name of the virtual host."`
	User  string `arg:"" help:"Name of the user."`
}

// Run deletes the permission.
func (c *permissionClear) Run(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, path("permissions", c.Vhost, c.User), nil, nil)
}

type permissionList struct {
	apiFlags
	Vhost string `help:"Only those in this virtual host." placeholder:"NAME"`
	User  string `help:"Only those of this user." placeholder:"NAME"`
}

// Run prints the permissions.
func (c *permissionList) Run(ctx context.Context, con *console) error {
	var all []map[string]any
	if err := c.call(ctx, http.MethodGet, "permissions", nil, &all); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(p map[string]any) bool {
		return c.Vhost != "" && p["vhost"] != c.Vhost || c.User != "" && p["user"] != c.User
	})
	return c.show(con.stdout, all, column{"VHOST", "vhost"}, column{"USER", "user"},
		column{"CONFIGURE", "configure"}, column{"WRITE", "write"}, column{"READ", "read"})
}

// vhostCommands are the commands about virtual hosts, which are namespaces.
type vhostCommands struct {
	Add    vhostAdd    `cmd:"" help:"Make a virtual host."`
	Delete vhostDelete `cmd:"" help:"Delete a virtual host with everything in it and end its connections."`
	List   vhostList   `cmd:"" help:"List the virtual hosts."`
}

type vhostAdd struct {
	apiFlags
	Name        string `arg:"" help:"Name of the virtual host."`
	Description string `help:"What it is for." placeholder:"TEXT"`
	Durability  string `help:"When publishes are confirmed: fsync, os or memory; the broker's default if left out." placeholder:"NAME"`
}

// Run makes the virtual host, or changes what is given of one that exists.
func (c *vhostAdd) Run(ctx context.Context) error {
	body := map[string]string{}
	if c.Description != "" {
		body["description"] = c.Description
	}
	if c.Durability != "" {
		body["durability"] = c.Durability
	}
	return c.call(ctx, http.MethodPut, path("vhosts", c.Name), body, nil)
}

type vhostDelete struct {
	apiFlags
	Name string `arg:"" help:"Name of the virtual host."`
}

// Run deletes the virtual host.
func (c *vhostDelete) Run(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, path("vhosts", c.Name), nil, nil)
}

type vhostList struct{ apiFlags }

// Run prints the virtual hosts.
func (c *vhostList) Run(ctx context.Context, con *console) error {
	var all []map[string]any
	if err := c.call(ctx, http.MethodGet, "vhosts", nil, &all); err != nil {
		return err
	}
	return c.show(con.stdout, all, column{"NAME", "name"}, column{"MESSAGES", "messages"},
		column{"READY", "messages_ready"}, column{"UNACKED", "messages_unacknowledged"}, column{"DESCRIPTION", "description"})
}
