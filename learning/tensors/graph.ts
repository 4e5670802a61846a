import protobuf from 'protobufjs/minimal.js';

/*
 * TensorFlow's graph format, as much of it as a recorded computation needs (tensorflow/core/protobuf/saved_model.proto,
 * meta_graph.proto, framework/graph.proto, node_def.proto, attr_value.proto, tensor.proto).
 */

const { Writer } = protobuf;
type Writer = protobuf.Writer;

/** A message is what its writer writes: nested messages are written in place. */
type Write = (w: Writer) => void;

/** One value of a node's attribute. */
export type Attribute =
  | { readonly kind: 'type' | 'int' | 'float'; readonly value: number | readonly number[] }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'shape'; readonly value: readonly number[] }
  | { readonly kind: 'tensor'; readonly type: number; readonly shape: readonly number[]; readonly bytes: Uint8Array };

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** `node`, `node:output` or `^node` for order only. */
  readonly inputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** Version of the graph format, as TensorFlow 2.9 and later write and read it. */
const PRODUCER = 1395;

/** A SavedModel with this graph, no variables and no signatures, as bytes of `saved_model.pb`. */
export function savedModel(nodes: readonly GraphNode[], tag: string): Uint8Array {
  const graph: Write = (w) => {
    for (const node of nodes) message(w, 1, nodeDef(node));
    message(w, 4, (v) => v.uint32(key(1, VARINT)).int32(PRODUCER));
  };
  const meta: Write = (w) => {
    message(w, 1, (info) => info.uint32(key(4, BYTES)).string(tag));
    message(w, 2, graph);
  };
  const writer = Writer.create();
  writer.uint32(key(1, VARINT)).int64(1);
  message(writer, 2, meta);
  return writer.finish();
}

const [VARINT, BYTES, FIXED32] = [0, 2, 5];

function key(field: number, wireType: number): number {
  return (field << 3) | wireType;
}

function message(w: Writer, field: number, write: Write): void {
  w.uint32(key(field, BYTES)).fork();
  write(w);
  w.ldelim();
}

function nodeDef({ name, op, inputs, attributes }: GraphNode): Write {
  return (w) => {
    w.uint32(key(1, BYTES)).string(name);
    w.uint32(key(2, BYTES)).string(op);
    for (const input of inputs) w.uint32(key(3, BYTES)).string(input);
    for (const [attribute, value] of Object.entries(attributes))
      message(w, 5, (entry) => {
        entry.uint32(key(1, BYTES)).string(attribute);
        message(entry, 2, attrValue(value));
      });
  };
}

function attrValue(attribute: Attribute): Write {
  return (w) => {
    switch (attribute.kind) {
      case 'string':
        w.uint32(key(2, BYTES)).string(attribute.value);
        return;
      case 'bool':
        w.uint32(key(5, VARINT)).bool(attribute.value);
        return;
      case 'shape':
        message(w, 7, shape(attribute.value));
        return;
      case 'tensor':
        message(w, 8, (t) => {
          t.uint32(key(1, VARINT)).int32(attribute.type);
          message(t, 2, shape(attribute.shape));
          t.uint32(key(4, BYTES)).bytes(attribute.bytes);
        });
        return;
      default: {
        const { value } = attribute;
        if (typeof value === 'number') number(w, attribute.kind, value);
        else
          message(w, 1, (list) => {
            for (const one of value) number(list, attribute.kind, one);
          });
      }
    }
  };
}

/** The fields of AttrValue and of its ListValue have the same numbers. */
function number(w: Writer, kind: 'type' | 'int' | 'float', value: number): void {
  if (kind === 'int') w.uint32(key(3, VARINT)).int64(value);
  else if (kind === 'float') w.uint32(key(4, FIXED32)).float(value);
  else w.uint32(key(6, VARINT)).int32(value);
}

function shape(sizes: readonly number[]): Write {
  return (w) => {
    for (const size of sizes) message(w, 2, (dim) => dim.uint32(key(1, VARINT)).int64(size));
  };
}
