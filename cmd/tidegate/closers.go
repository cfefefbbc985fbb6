package main

import (
	"errors"
	"fmt"
	"slices"
)

// closers undoes a start step by step, the last step first.
type closers struct{ steps []closer }

type closer struct {
	name  string
	close func() error
}

func (c *closers) add(name string, fn func() error) { c.steps = append(c.steps, closer{name, fn}) }

func (c *closers) close() error {
	var errs []error
	for _, step := range slices.Backward(c.steps) {
		if err := step.close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	c.steps = nil
	return errors.Join(errs...)
}
