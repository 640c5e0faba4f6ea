//! The table of what a chat request may hold (contract section 3.1; where Azure's files are behind, OpenAI's own).
use super::shape::{Member, Shape, optional, required};

const MOST_MESSAGES: usize = 2048;
const MOST_TOOLS: usize = 128;

/// Parameters of chat completions; any other is refused by name.
pub(super) const PARAMETERS: &[Member] = &[
    required("messages", Shape::List { of: &MESSAGE, least: 1, most: MOST_MESSAGES }),
    optional(
        "audio",
        Shape::Members(&[required("voice", Shape::Any), required("format", Shape::Words(AUDIO_FORMATS))]),
    ),
    optional("data_sources", LIST_OF_ANYTHING),
    optional("enhancements", Shape::Any),
    optional("frequency_penalty", Shape::Decimal { least: -2.0, most: 2.0 }),
    optional("function_call", Shape::TextOr(&NAMED)),
    optional("functions", Shape::List { of: &FUNCTION, least: 1, most: MOST_TOOLS }),
    optional("logit_bias", Shape::Map { of: &Shape::Integer { least: -100, most: 100 }, most: usize::MAX }),
    optional("logprobs", Shape::Bool),
    optional("max_completion_tokens", AT_LEAST_ONE),
    optional("max_tokens", AT_LEAST_ONE),
    optional("metadata", Shape::Map { of: &Shape::Text, most: 16 }),
    optional("modalities", Shape::List { of: &Shape::Words(&["text", "audio"]), least: 0, most: 2 }),
    optional("model", Shape::Text),
    optional("n", Shape::Integer { least: 1, most: 128 }),
    optional("parallel_tool_calls", Shape::Bool),
    optional("prediction", PREDICTION),
    optional("presence_penalty", Shape::Decimal { least: -2.0, most: 2.0 }),
    optional("prompt_cache_key", Shape::Text),
    optional("reasoning_effort", Shape::Text),
    optional("response_format", RESPONSE_FORMAT),
    optional("safety_identifier", Shape::Text),
    optional("seed", Shape::Integer { least: i64::MIN, most: i64::MAX }),
    optional("service_tier", Shape::Words(&["auto", "default", "flex", "scale", "priority"])),
    optional("stop", Shape::TextOr(&Shape::List { of: &Shape::Text, least: 1, most: 4 })),
    optional("store", Shape::Bool),
    optional("stream", Shape::Bool),
    optional(
        "stream_options",
        Shape::Members(&[optional("include_usage", Shape::Bool), optional("include_obfuscation", Shape::Bool)]),
    ),
    optional("temperature", Shape::Decimal { least: 0.0, most: 2.0 }),
    optional("tool_choice", Shape::TextOr(&TOOL_CHOICE)),
    optional("tools", Shape::List { of: &TOOL, least: 0, most: MOST_TOOLS }),
    optional("top_logprobs", Shape::Integer { least: 0, most: 20 }),
    optional("top_p", Shape::Decimal { least: 0.0, most: 1.0 }),
    optional("user", Shape::Text),
    optional("user_security_context", SECURITY_CONTEXT),
    optional("verbosity", Shape::Words(&["low", "medium", "high"])),
    optional("web_search_options", Shape::Any),
];

const AT_LEAST_ONE: Shape = Shape::Integer { least: 1, most: i64::MAX };
const AUDIO_FORMATS: &[&str] = &["wav", "aac", "mp3", "flac", "opus", "pcm16"];
const ANYTHING: Shape = Shape::Any;
const LIST_OF_ANYTHING: Shape = Shape::List { of: &ANYTHING, least: 0, most: usize::MAX };
const FREE_OBJECT: Shape = Shape::Map { of: &ANYTHING, most: usize::MAX };

static MESSAGE: Shape = Shape::Tagged {
    by: "role",
    kinds: &[
        ("system", SAID),
        ("assistant", ASSISTANT),
        ("user", &[required("content", Shape::TextOr(&USER_PARTS)), optional("name", Shape::Text)]),
        ("function", &[required("name", Shape::Text), optional("content", Shape::Text)]),
        ("tool", &[required("tool_call_id", Shape::Text), required("content", Shape::TextOr(&TEXT_PARTS))]),
        ("developer", SAID),
    ],
};

const SAID: &[Member] = &[required("content", Shape::TextOr(&TEXT_PARTS)), optional("name", Shape::Text)];

const ASSISTANT: &[Member] = &[
    optional("content", Shape::TextOr(&ASSISTANT_PARTS)),
    optional("refusal", Shape::Text),
    optional("name", Shape::Text),
    optional("audio", Shape::Members(&[required("id", Shape::Text)])),
    optional("function_call", CALLED),
    optional("tool_calls", Shape::List { of: &TOOL_CALL, least: 1, most: MOST_TOOLS }),
];

static TEXT_PARTS: Shape = Shape::List { of: &TEXT_PART, least: 1, most: usize::MAX };
static TEXT_PART: Shape = Shape::Tagged { by: "type", kinds: &[("text", TEXT)] };
static ASSISTANT_PARTS: Shape = Shape::List { of: &ASSISTANT_PART, least: 1, most: usize::MAX };
static ASSISTANT_PART: Shape =
    Shape::Tagged { by: "type", kinds: &[("text", TEXT), ("refusal", &[required("refusal", Shape::Text)])] };
static USER_PARTS: Shape = Shape::List { of: &USER_PART, least: 1, most: usize::MAX };
static USER_PART: Shape = Shape::Tagged {
    by: "type",
    kinds: &[
        ("text", TEXT),
        ("image_url", &[required("image_url", IMAGE)]),
        ("input_audio", &[required("input_audio", AUDIO)]),
        ("file", &[required("file", FILE)]),
    ],
};

const TEXT: &[Member] = &[required("text", Shape::Text)];
const IMAGE: Shape =
    Shape::Members(&[required("url", Shape::Text), optional("detail", Shape::Words(&["auto", "low", "high"]))]);
const AUDIO: Shape =
    Shape::Members(&[required("data", Shape::Text), required("format", Shape::Words(&["wav", "mp3"]))]);
const FILE: Shape = Shape::Members(&[
    optional("file_data", Shape::Text),
    optional("file_id", Shape::Text),
    optional("filename", Shape::Text),
]);

static TOOL_CALL: Shape =
    Shape::Tagged { by: "type", kinds: &[("function", &[required("id", Shape::Text), required("function", CALLED)])] };
const CALLED: Shape = Shape::Members(&[required("name", Shape::Text), required("arguments", Shape::Text)]);

static TOOL: Shape = Shape::Tagged { by: "type", kinds: &[("function", &[required("function", FUNCTION_SHAPE)])] };
static FUNCTION: Shape = FUNCTION_SHAPE;
const FUNCTION_SHAPE: Shape = Shape::Members(&[
    required("name", Shape::Name),
    optional("description", Shape::Text),
    optional("parameters", FREE_OBJECT),
    optional("strict", Shape::Bool),
]);
static TOOL_CHOICE: Shape = Shape::Tagged { by: "type", kinds: &[("function", &[required("function", NAMED_SHAPE)])] };
static NAMED: Shape = NAMED_SHAPE;
const NAMED_SHAPE: Shape = Shape::Members(&[required("name", Shape::Text)]);

const RESPONSE_FORMAT: Shape = Shape::Tagged {
    by: "type",
    kinds: &[("json_object", &[]), ("json_schema", &[required("json_schema", JSON_SCHEMA)]), ("text", &[])],
};
const JSON_SCHEMA: Shape = Shape::Members(&[
    required("name", Shape::Name),
    optional("description", Shape::Text),
    optional("schema", FREE_OBJECT),
    optional("strict", Shape::Bool),
]);

const PREDICTION: Shape =
    Shape::Tagged { by: "type", kinds: &[("content", &[required("content", Shape::TextOr(&TEXT_PARTS))])] };

const SECURITY_CONTEXT: Shape = Shape::Members(&[
    optional("application_name", Shape::Text),
    optional("end_user_id", Shape::Text),
    optional("end_user_tenant_id", Shape::Text),
    optional("source_ip", Shape::Text),
]);
