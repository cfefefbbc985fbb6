package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// A key of the database's bucket is the revision of a change in 17 bytes, and one byte
// more where the change is a deletion.
var revisions = []byte("key")

const revisionBytes = 17

// lockTimeout bounds the wait for a database that another process has open.
const lockTimeout = time.Second

// ReadStopped reads the database of an embedded server that does not run, in its data
// directory, and changes nothing. It calls fn with the changes of keys below the prefix
// that the history still has, oldest first; the value is nil where the key was deleted,
// and valid until fn returns. The newest changes may be missing: the server has them in
// its log alone for a while. os.ErrNotExist when there is no database; any other error
// is one of reading, or that of fn.
func ReadStopped(dir, prefix string, fn func(key string, value []byte) error) (err error) {
	path := filepath.Join(dir, "member", "snap", "db")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("read etcd: %w", err)
	}
	// The database is mapped into memory and trusted by those who read it: what is damaged
	// or cut short is met as a fault of the memory, or as a panic. It stays open then, as
	// its locks may be held.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read etcd %s: damaged: %v", path, r)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return fmt.Errorf("read etcd %s: %w", path, err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(revisions)
		if bucket == nil {
			return errors.New("there is no history")
		}
		return bucket.ForEach(func(revision, text []byte) error { return eachChange(revision, text, prefix, fn) })
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("read etcd %s: %w", path, err)
	}
	return nil
}

func eachChange(revision, text []byte, prefix string, fn func(key string, value []byte) error) error {
	kv := new(mvccpb.KeyValue)
	if err := proto.Unmarshal(text, kv); err != nil {
		return fmt.Errorf("revision %x: %w", revision, err)
	}
	key := string(kv.Key)
	switch {
	case !strings.HasPrefix(key, prefix):
		return nil
	case len(revision) > revisionBytes:
		return fn(key, nil)
	}
	return fn(key, kv.Value)
}
