package commitlog

import (
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// The manifest is the file MANIFEST of a log's directory. It rules the LSNs
// below its end: there, the files that it lists are the log, and an LSN that
// none of them covers is gone. From its end on, original segments follow each
// other by the CRC in their headers. A log that never dropped or rewrote a
// segment has no manifest, which is one that ends at the first LSN.
//
//	header | files | removed | CRC
//
//	pos  size  field of the header; numbers are little endian
//	  0     4  magic "TGmf"
//	  4     2  version, 1
//	  6     2  0
//	  8     8  generation; grows with every manifest
//	 16     8  end: first LSN that the manifest does not rule
//	 24     4  CRC that the header of the segment at the end repeats
//	 28     4  number of files
//	 32     4  number of removed files
//	 36     4  0
//
//	pos  size  field of a file, by ascending LSN
//	  0     8  first LSN
//	  8     8  LSN behind the last one
//	 16     8  length of the file in bytes
//	 24     8  generation in its name; 0 for an original segment
//	 32     4  CRC that ends the file
//	 36     4  0
//
//	pos  size  field of a removed file, which may still be in the directory
//	  0     8  first LSN
//	  8     8  generation
//
// The CRC32C at the end covers the identity and all before it. Later versions
// keep magic, version and the CRC at the end of the file.
type manifest struct {
	generation uint64
	end        record.LSN
	chain      uint32
	files      []*file
	removed    []leftover
}

const (
	manifestMagic   = "TGmf"
	manifestVersion = 1
	manifestHeader  = 40
	manifestFile    = 40
	manifestRemoved = 16
	manifestSum     = 4

	// maxManifest bounds what is read of a manifest: over a million segments.
	maxManifest = 64 << 20
)

// leftover names a file that the log has no use for any more.
type leftover struct {
	base       record.LSN
	generation uint64
}

func (m *manifest) encode(id record.Identity) []byte {
	le, size := binary.LittleEndian, manifestHeader+manifestFile*len(m.files)+manifestRemoved*len(m.removed)
	p := make([]byte, manifestHeader, size+manifestSum)
	copy(p, manifestMagic)
	le.PutUint16(p[4:], manifestVersion)
	le.PutUint64(p[8:], m.generation)
	le.PutUint64(p[16:], uint64(m.end))
	le.PutUint32(p[24:], m.chain)
	le.PutUint32(p[28:], uint32(len(m.files)))
	le.PutUint32(p[32:], uint32(len(m.removed)))
	for _, f := range m.files {
		p = le.AppendUint64(p, uint64(f.base))
		p = le.AppendUint64(p, uint64(f.next))
		p = le.AppendUint64(p, uint64(f.size))
		p = le.AppendUint64(p, f.generation)
		p = le.AppendUint32(p, f.sum)
		p = le.AppendUint32(p, 0)
	}
	for _, r := range m.removed {
		p = le.AppendUint64(p, uint64(r.base))
		p = le.AppendUint64(p, r.generation)
	}
	return le.AppendUint32(p, id.Checksum(p))
}

func decodeManifest(p []byte, id record.Identity) (*manifest, error) {
	if len(p) < manifestHeader+manifestSum {
		return nil, fmt.Errorf("manifest of %d bytes: %w", len(p), ErrCorrupt)
	}
	if string(p[:4]) != manifestMagic {
		return nil, fmt.Errorf("manifest magic: %w", ErrCorrupt)
	}
	le, body := binary.LittleEndian, p[:len(p)-manifestSum]
	if le.Uint32(p[len(body):]) != id.Checksum(body) {
		return nil, fmt.Errorf("manifest checksum: %w", ErrCorrupt)
	}
	if v := le.Uint16(p[4:]); v != manifestVersion {
		return nil, fmt.Errorf("manifest version %d: %w", v, record.ErrVersion)
	}
	m := &manifest{
		generation: le.Uint64(p[8:]), end: record.LSN(le.Uint64(p[16:])), chain: le.Uint32(p[24:]),
	}
	files, removed := int64(le.Uint32(p[28:])), int64(le.Uint32(p[32:]))
	if int64(len(body)) != manifestHeader+files*manifestFile+removed*manifestRemoved {
		return nil, fmt.Errorf("manifest of %d bytes, %d and %d files: %w", len(p), files, removed, ErrCorrupt)
	}
	body = body[manifestHeader:]
	for ; files > 0; files-- {
		m.files = append(m.files, &file{
			base: record.LSN(le.Uint64(body)), next: record.LSN(le.Uint64(body[8:])), size: int64(le.Uint64(body[16:])),
			generation: le.Uint64(body[24:]), sum: le.Uint32(body[32:]),
		})
		body = body[manifestFile:]
	}
	for ; removed > 0; removed-- {
		m.removed = append(m.removed, leftover{record.LSN(le.Uint64(body)), le.Uint64(body[8:])})
		body = body[manifestRemoved:]
	}
	return m, m.check()
}

// check tells whether the files are in order and none of them is also removed.
func (m *manifest) check() error {
	next := firstLSN
	live := make(map[leftover]bool, len(m.files))
	for _, f := range m.files {
		if f.base < next || f.next <= f.base || f.generation > m.generation ||
			f.size < segment.HeaderSize+segment.TrailerSize {
			return fmt.Errorf("manifest, file of %d to %d, %d bytes: %w", f.base, f.next, f.size, ErrCorrupt)
		}
		next, live[f.leftover()] = f.next, true
	}
	if next > m.end {
		return fmt.Errorf("manifest up to %d ends at %d: %w", next, m.end, ErrCorrupt)
	}
	for _, r := range m.removed {
		if live[r] || r.base >= m.end {
			return fmt.Errorf("manifest, removed file of %d: %w", r.base, ErrCorrupt)
		}
	}
	return nil
}
