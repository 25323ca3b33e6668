package api

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
)

// A checked body says what else is wrong with it, beyond the form and the tags of its fields.
type checked interface{ check() courier.Faults }

// readJSON reads one object into a struct and tells every fault of it at once: fields that the call does not know, values
// of another type, and what the tags of the fields ask for. need is the text for a field that must be filled in, oneof
// lists its values, moment marks a time as text.
func readJSON(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if !utf8.Valid(body) {
		return web.NewProblem(http.StatusBadRequest, "not_utf8", "请求内容不是有效的 UTF-8 文本")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	var members map[string]json.RawMessage
	if err := d.Decode(&members); err != nil || members == nil {
		return web.NewProblem(http.StatusBadRequest, "malformed_json", "请求内容不是完整的 JSON 对象")
	}
	if _, err := d.Token(); err != io.EOF {
		return web.NewProblem(http.StatusBadRequest, "malformed_json", "JSON 对象之后还有多余内容")
	}
	faults := readObject("", members, reflect.ValueOf(v).Elem())
	if c, ok := v.(checked); ok {
		for _, f := range c.check() {
			if !slices.ContainsFunc(faults, func(known courier.Fault) bool { return known.Field == f.Field }) {
				faults = append(faults, f)
			}
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// readObject fills the fields of a struct; prefix stands before their names in faults.
func readObject(prefix string, members map[string]json.RawMessage, into reflect.Value) courier.Faults {
	var faults courier.Faults
	known := map[string]bool{}
	for i := range into.NumField() {
		field := into.Type().Field(i)
		name := field.Tag.Get("json")
		known[name] = true
		raw, given := members[name]
		var wrong courier.Faults
		if given && string(raw) != "null" {
			wrong = readValue(prefix+name, raw, into.Field(i))
		}
		if len(wrong) == 0 {
			wrong = checkTags(prefix+name, field.Tag, into.Field(i))
		}
		faults = append(faults, wrong...)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !known[name] {
			faults = append(faults, courier.Fault{Field: prefix + courier.ShownName(name), Code: "unknown_field", Detail: "没有这个字段，请核对名称"})
		}
	}
	return faults
}

// readValue fills one field.
func readValue(name string, raw json.RawMessage, into reflect.Value) courier.Faults {
	t := into.Type()
	if t.Kind() == reflect.Pointer {
		p := reflect.New(t.Elem())
		faults := readValue(name, raw, p.Elem())
		into.Set(p)
		return faults
	}
	_, own := into.Addr().Interface().(json.Unmarshaler)
	if t.Kind() == reflect.Struct && !own {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			return courier.Faults{{Field: name, Code: "type", Detail: "类型不对，应为一个 JSON 对象"}}
		}
		return readObject(name+".", members, into)
	}
	if err := json.Unmarshal(raw, into.Addr().Interface()); err != nil {
		if _, isText := into.Interface().(time.Time); isText && raw[0] == '"' {
			return courier.Faults{timeFormat(name)}
		}
		return courier.Faults{{Field: name, Code: "type", Detail: "类型不对，应为" + kindName(t)}}
	}
	return nil
}

// checkTags holds a field against its tags.
func checkTags(name string, tag reflect.StructTag, v reflect.Value) courier.Faults {
	if need := tag.Get("need"); need != "" && empty(v) {
		return courier.Faults{{Field: name, Code: "required", Detail: need}}
	}
	text, isText := v.Interface().(string)
	if !isText || text == "" {
		return nil
	}
	if values := strings.Fields(tag.Get("oneof")); len(values) > 0 && !slices.Contains(values, text) {
		return courier.Faults{{Field: name, Code: "unknown_value", Detail: "应为以下之一：" + strings.Join(values, "、")}}
	}
	if _, moment := tag.Lookup("moment"); moment {
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return courier.Faults{timeFormat(name)}
		}
	}
	return nil
}

func timeFormat(name string) courier.Fault {
	return courier.Fault{Field: name, Code: "format", Detail: "应为 RFC 3339 时间，例如 2026-11-22T09:00:00+08:00"}
}

// empty tells a value that nobody filled in; a text of spaces is none.
func empty(v reflect.Value) bool {
	switch x := v.Interface().(type) {
	case string:
		return strings.TrimSpace(x) == ""
	case interface{ IsZero() bool }:
		return x.IsZero()
	}
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

// kindName names a type as people who write JSON know it.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "整数"
	case reflect.Bool:
		return " true 或 false"
	case reflect.Slice:
		return "列表"
	}
	return "文本"
}
