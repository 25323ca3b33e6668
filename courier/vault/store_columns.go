package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// staleValue is a value that is not under the active key.
type staleValue struct {
	key    []string // the primary key as text
	id     uuid.UUID
	was    []byte
	sealed []byte
}

// stale reads the next chunk of a column after a primary key, as a JSON array of its parts. It fetches those values
// only that are not under the key; last is the key of the last row, and read how many rows there were.
func (c Column) stale(ctx context.Context, db sqlx.QueryerContext, key uint32, after string) (found []staleValue, last string, read int, err error) {
	args := []any{sealedHead(key), c.Chunk}
	where := ""
	if after != "" {
		var parts []string
		if err := json.Unmarshal([]byte(after), &parts); err != nil || len(parts) != len(c.Key) {
			return nil, "", 0, errors.New("the stored progress is not a primary key")
		}
		marks := make([]string, len(parts))
		for i, p := range c.Key {
			args = append(args, parts[i])
			marks[i] = fmt.Sprintf("$%d::%s", len(args), p.Type)
		}
		where = "WHERE (" + c.keyList("") + ") > (" + strings.Join(marks, ", ") + ")"
	}
	rows, err := db.QueryxContext(ctx, `
		SELECT ARRAY[`+c.keyList("::text")+`],
			CASE WHEN length(`+c.Field+`) > 0 AND substring(`+c.Field+` FROM 1 FOR 5) <> $1 THEN `+c.Field+` END
		FROM `+c.Table+` `+where+`
		ORDER BY `+c.keyList("")+`
		LIMIT $2`, args...)
	if err != nil {
		return nil, "", 0, fmt.Errorf("read a chunk: %w", err)
	}
	defer rows.Close()
	last = after
	for rows.Next() {
		var v staleValue
		if err := rows.Scan((*pq.StringArray)(&v.key), &v.was); err != nil {
			return nil, "", 0, fmt.Errorf("read a chunk: %w", err)
		}
		read++
		if last, err = encodeKey(v.key); err != nil {
			return nil, "", 0, err
		}
		if v.was == nil {
			continue
		}
		if v.id, err = uuid.Parse(v.key[0]); err != nil {
			return nil, "", 0, fmt.Errorf("read a chunk: %w", err)
		}
		found = append(found, v)
	}
	if err := rows.Err(); err != nil {
		return nil, "", 0, fmt.Errorf("read a chunk: %w", err)
	}
	return found, last, read, nil
}

// replace is a compare-and-set on the old value: a row that was written meanwhile keeps what was written. The rows are
// locked in the order of their key first, so that two writers of the same rows wait rather than deadlock.
func (c Column) replace(ctx context.Context, tx *sqlx.Tx, values []staleValue) (int64, error) {
	if len(values) == 0 {
		return 0, nil
	}
	keys := make([]pq.StringArray, len(c.Key))
	var was, sealed pq.ByteaArray
	for _, v := range values {
		for i := range c.Key {
			keys[i] = append(keys[i], v.key[i])
		}
		was, sealed = append(was, v.was), append(sealed, v.sealed)
	}
	args := []any{was, sealed}
	columns := []string{"$1::bytea[]", "$2::bytea[]"}
	names := []string{"was", "sealed"}
	var join []string
	for i, p := range c.Key {
		args = append(args, keys[i])
		columns = append(columns, fmt.Sprintf("$%d::text[]::%s[]", len(args), p.Type))
		names = append(names, "k_"+p.Name)
		join = append(join, "t."+p.Name+" = n.k_"+p.Name)
	}
	matches := strings.Join(join, " AND ")
	res, err := tx.ExecContext(ctx, `
		WITH n AS MATERIALIZED (
			SELECT `+strings.Join(names, ", ")+` FROM unnest(`+strings.Join(columns, ", ")+`) AS u(`+strings.Join(names, ", ")+`)
		), locked AS MATERIALIZED (
			SELECT t.`+c.Key[0].Name+` FROM `+c.Table+` t JOIN n ON `+matches+`
			ORDER BY `+c.keyListOf("t")+`
			FOR NO KEY UPDATE OF t
		)
		UPDATE `+c.Table+` t
		SET `+c.Field+` = n.sealed
		FROM n
		WHERE `+matches+` AND t.`+c.Field+` = n.was AND (SELECT count(*) FROM locked) > 0`, args...)
	if err != nil {
		return 0, fmt.Errorf("write a chunk: %w", err)
	}
	return res.RowsAffected()
}

// sealedHead is how every value under the key begins.
func sealedHead(key uint32) []byte {
	return []byte{version, byte(key >> 24), byte(key >> 16), byte(key >> 8), byte(key)}
}

func (c Column) keyList(cast string) string {
	names := make([]string, len(c.Key))
	for i, p := range c.Key {
		names[i] = p.Name + cast
	}
	return strings.Join(names, ", ")
}

func (c Column) keyListOf(table string) string {
	names := make([]string, len(c.Key))
	for i, p := range c.Key {
		names[i] = table + "." + p.Name
	}
	return strings.Join(names, ", ")
}

func encodeKey(key []string) (string, error) {
	b, err := json.Marshal(key)
	return string(b), err
}
