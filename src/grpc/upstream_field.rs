//! Azure names the parameter that it refuses; callers are told the field of theirs that it came from.

/// Parameters whose field has another name. The longest that fits counts; whatever follows it is kept.
const RENAMED: [(&str, &str); 16] = [
    ("max_completion_tokens", "max_output_tokens"),
    // What servers that know only the older name say.
    ("max_tokens", "max_output_tokens"),
    ("n", "choice_count"),
    ("stop", "stop_sequences"),
    ("user", "end_user_id"),
    ("tool_choice.function.name", "tool_choice.function_name"),
    ("response_format.type", "response_format"),
    ("response_format.json_schema.schema", "response_format.json_schema.schema_json"),
    ("tools[].type", "tools[]"),
    ("tools[].function.parameters", "tools[].function.parameters_json_schema"),
    ("messages[].content[].image_url.url", "messages[].content[].image"),
    ("messages[].content[].image_url", "messages[].content[].image"),
    ("messages[].content[].file.file_data", "messages[].content[].file.inline"),
    ("messages[].content[].file.filename", "messages[].content[].file.name"),
    ("messages[].tool_calls[].function.arguments", "messages[].tool_calls[].arguments_json"),
    ("messages[].tool_calls[].function", "messages[].tool_calls[]"),
];

/// Parameters of embeddings whose field has another name.
const RENAMED_OF_EMBEDDINGS: [(&str, &str); 2] = [("input", "inputs"), ("encoding_format", "encoding")];

/// The field that Azure's `param` came from. Names that are not known stay what they are: `extra_params` have Azure's
/// own names, and Azure may name what no field is for.
pub(super) fn field(param: &str) -> String {
    let tables = RENAMED.iter().chain(&RENAMED_OF_EMBEDDINGS);
    let fits = tables.filter_map(|(azure, ours)| Some((azure, ours, rest_after(param, azure)?)));
    match fits.max_by_key(|(azure, ..)| azure.len()) {
        Some((_, ours, rest)) => with_positions(ours, &positions(param)) + rest,
        None => param.to_owned(),
    }
}

/// What follows `pattern` in `param`, where `[]` stands for any position; `None` if it does not begin so.
fn rest_after<'a>(param: &'a str, pattern: &str) -> Option<&'a str> {
    let mut rest = param;
    for (at, piece) in pattern.split("[]").enumerate() {
        if at > 0 {
            let (position, after) = rest.strip_prefix('[')?.split_once(']')?;
            position.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
            rest = after;
        }
        rest = rest.strip_prefix(piece)?;
    }
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

/// The positions in a path, in their order; those of a pattern that fits come first.
fn positions(path: &str) -> Vec<&str> {
    path.split('[').skip(1).filter_map(|piece| Some(piece.split_once(']')?.0)).collect()
}

fn with_positions(pattern: &str, positions: &[&str]) -> String {
    let mut positions = positions.iter();
    let mut path = String::new();
    for (at, piece) in pattern.split("[]").enumerate() {
        if at > 0 {
            path.push_str(&format!("[{}]", positions.next().unwrap_or(&"")));
        }
        path.push_str(piece);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_hear_of_their_own_fields() {
        for (param, ours) in [
            ("max_completion_tokens", "max_output_tokens"),
            ("max_tokens", "max_output_tokens"),
            ("n", "choice_count"),
            ("stop", "stop_sequences"),
            ("stop[2]", "stop_sequences[2]"),
            ("user", "end_user_id"),
            ("user_security_context.source_ip", "user_security_context.source_ip"),
            ("temperature", "temperature"),
            ("metadata.a", "metadata.a"),
            ("tool_choice", "tool_choice"),
            ("tool_choice.function.name", "tool_choice.function_name"),
            ("tools", "tools"),
            ("tools[3].function.parameters", "tools[3].function.parameters_json_schema"),
            ("tools[3].function.parameters.x", "tools[3].function.parameters_json_schema.x"),
            ("tools[3].function.name", "tools[3].function.name"),
            ("tools[12].type", "tools[12]"),
            ("response_format", "response_format"),
            ("response_format.type", "response_format"),
            ("response_format.json_schema.schema", "response_format.json_schema.schema_json"),
            ("response_format.json_schema.name", "response_format.json_schema.name"),
            ("messages", "messages"),
            ("messages[1].role", "messages[1].role"),
            ("messages[1].content[2].image_url", "messages[1].content[2].image"),
            ("messages[1].content[2].image_url.url", "messages[1].content[2].image"),
            ("messages[1].content[2].image_url.detail", "messages[1].content[2].image.detail"),
            ("messages[1].content[2].file.file_data", "messages[1].content[2].file.inline"),
            ("messages[10].tool_calls[0].function.arguments", "messages[10].tool_calls[0].arguments_json"),
            ("messages[10].tool_calls[0].function.name", "messages[10].tool_calls[0].name"),
            ("messages[10].tool_calls[0].id", "messages[10].tool_calls[0].id"),
            ("input", "inputs"),
            ("input[7]", "inputs[7]"),
            ("encoding_format", "encoding"),
            ("dimensions", "dimensions"),
            ("service_tier", "service_tier"),
            ("nonsense", "nonsense"),
            ("messages[x].content", "messages[x].content"),
            ("tools[", "tools["),
            ("", ""),
        ] {
            assert_eq!(field(param), ours, "{param}");
        }
    }
}
