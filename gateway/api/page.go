package api

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPageSize = 100
	maxPageSize     = 500
)

// shape applies what the query asks of a list: the part whose names match, an
// order, some columns, a page.
func shape(r *request, got answer) (answer, error) {
	list, ok := got.body.([]object)
	if !ok || r.Method != http.MethodGet {
		return got, nil
	}
	query := r.URL.Query()
	total := len(list)
	list, err := filter(list, query.Get("name"), query.Get("use_regex") == "true")
	if err != nil {
		return got, err
	}
	if column := query.Get("sort"); column != "" {
		path := strings.Split(column, ".")
		slices.SortStableFunc(list, func(a, b object) int { return compareValues(at(a, path), at(b, path)) })
		if query.Get("sort_reverse") == "true" {
			slices.Reverse(list)
		}
	}
	filtered := len(list)
	var page, size, pages int
	if query.Get("page") != "" {
		if page, err = number(r, "page", 1); err != nil {
			return got, err
		}
		if size, err = number(r, "page_size", defaultPageSize); err != nil {
			return got, err
		}
		if page < 1 || size < 1 || size > maxPageSize {
			return got, &refused{
				http.StatusBadRequest, "invalid_pagination_parameters",
				fmt.Sprintf("Invalid pagination parameters: page number %d, page size %d", page, size),
			}
		}
		pages = max(1, (filtered+size-1)/size)
		if page > pages {
			return got, &refused{
				http.StatusBadRequest, "page_out_of_range",
				fmt.Sprintf("Page out of range, page: %d page size: %d, len: %d", page, size, filtered),
			}
		}
		list = list[(page-1)*size : min(page*size, filtered)]
	}
	if names := query.Get("columns"); names != "" {
		list = columns(list, strings.Split(names, ","))
	}
	got.body = orNone(list)
	if page > 0 {
		got.body = object{
			"items": orNone(list), "item_count": len(list), "page": page, "page_size": size, "page_count": pages,
			"filtered_count": filtered, "total_count": total,
		}
	}
	return got, nil
}

// at returns the member that a path leads to, nil when there is none.
func at(o object, path []string) any {
	for _, name := range path[:len(path)-1] {
		inner, ok := o[name].(object)
		if !ok {
			return nil
		}
		o = inner
	}
	return o[path[len(path)-1]]
}

func number(r *request, name string, absent int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > 1<<20 {
		return 0, badRequest("Pagination parameters are invalid")
	}
	return n, nil
}

// filter keeps the objects whose name matches.
func filter(list []object, name string, asPattern bool) ([]object, error) {
	if name == "" {
		return list, nil
	}
	match := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(name)) }
	if asPattern {
		pattern, err := regexp.Compile(name)
		if err != nil {
			return nil, badRequest("Pagination parameters are invalid: name is no regular expression: %v", err)
		}
		match = pattern.MatchString
	}
	return slices.DeleteFunc(list, func(o object) bool {
		s, _ := o["name"].(string)
		return !match(s)
	}), nil
}

func compareValues(a, b any) int {
	x, aNumber := asNumber(a)
	y, bNumber := asNumber(b)
	if aNumber && bNumber {
		return cmp.Compare(x, y)
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// columns keeps the named members; a dot leads into an object.
func columns(list []object, names []string) []object {
	out := make([]object, len(list))
	for i, o := range list {
		out[i] = object{}
		for _, name := range names {
			copyColumn(out[i], o, strings.Split(name, "."))
		}
	}
	return out
}

func copyColumn(to, from object, path []string) {
	value, ok := from[path[0]]
	if !ok {
		return
	}
	inner, isObject := value.(object)
	if len(path) == 1 || !isObject {
		to[path[0]] = value
		return
	}
	below, ok := to[path[0]].(object)
	if !ok {
		below = object{}
		to[path[0]] = below
	}
	copyColumn(below, inner, path[1:])
}
