//! Protobuf -> domain for what is said in a chat; the limits are Azure's own (contract sections 2 and 3.1).
use sealane_core::domain::{ImageDetail, ImageSource, Message, Part, Role, ToolCall};

use super::{
    Violations,
    decode::{DecodeRules, known, non_empty},
    pb,
};

const MOST_MESSAGES: usize = 2048;
const MOST_CHARACTERS: usize = 1_048_576;
const MOST_IMAGES: usize = 50;
const LONGEST_FILE_NAME: usize = 256;
const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// The conversation, oldest first.
pub(super) fn messages(messages: Vec<pb::Message>, rules: DecodeRules<'_>, wrong: &mut Violations) -> Vec<Message> {
    wrong.require(!messages.is_empty(), "messages", "must hold at least one message");
    wrong.require(messages.len() <= MOST_MESSAGES, "messages", format!("must hold at most {MOST_MESSAGES} messages"));
    let has = |role: pb::Role| messages.iter().any(|message| message.role == role as i32);
    wrong.require(
        !(has(pb::Role::System) && has(pb::Role::Developer)),
        "messages",
        "must not mix ROLE_SYSTEM and ROLE_DEVELOPER",
    );
    let decoded: Vec<Message> = messages
        .into_iter()
        .enumerate()
        .filter_map(|(at, one)| message(one, &format!("messages[{at}]"), rules, wrong))
        .collect();
    let parts = decoded.iter().flat_map(|message| &message.content);
    let images = parts.filter(|part| matches!(part, Part::Image { .. })).count();
    wrong.require(images <= MOST_IMAGES, "messages", format!("must hold at most {MOST_IMAGES} images"));
    decoded
}

fn message(message: pb::Message, path: &str, rules: DecodeRules<'_>, wrong: &mut Violations) -> Option<Message> {
    let role = match known(message.role, format!("{path}.role"), wrong)? {
        pb::Role::Unspecified => {
            wrong.add(format!("{path}.role"), "is required");
            return None;
        }
        pb::Role::System => Role::System,
        pb::Role::Developer => Role::Developer,
        pb::Role::User => Role::User,
        pb::Role::Assistant => Role::Assistant,
        pb::Role::Tool => Role::Tool,
    };
    let calls_only = role == Role::Assistant && !message.tool_calls.is_empty();
    wrong.require(!message.content.is_empty() || calls_only, format!("{path}.content"), "must hold at least one part");
    wrong.require(message.name.chars().count() <= 64, format!("{path}.name"), "must be at most 64 characters");
    wrong.require(
        message.tool_calls.is_empty() || role == Role::Assistant,
        format!("{path}.tool_calls"),
        "belongs to ROLE_ASSISTANT only",
    );
    wrong.require(
        message.tool_call_id.is_empty() != (role == Role::Tool),
        format!("{path}.tool_call_id"),
        "is required with ROLE_TOOL and belongs to it only",
    );
    let texts = message.content.iter().filter_map(|part| match &part.part {
        Some(pb::content_part::Part::Text(text) | pb::content_part::Part::Refusal(text)) => Some(text.len()),
        _ => None,
    });
    wrong.require(
        texts.sum::<usize>() <= MOST_CHARACTERS,
        format!("{path}.content"),
        format!("must be at most {MOST_CHARACTERS} characters together"),
    );
    let content = message.content.into_iter().enumerate();
    let content =
        content.filter_map(|(at, one)| part(one, role, &format!("{path}.content[{at}]"), rules, wrong)).collect();
    let tool_calls = message.tool_calls.into_iter().enumerate();
    let tool_calls = tool_calls.map(|(at, call)| tool_call(call, &format!("{path}.tool_calls[{at}]"), wrong)).collect();
    Some(Message {
        role,
        content,
        name: non_empty(message.name),
        tool_calls,
        tool_call_id: non_empty(message.tool_call_id),
    })
}

fn tool_call(call: pb::ToolCall, path: &str, wrong: &mut Violations) -> ToolCall {
    wrong.require(!call.id.is_empty(), format!("{path}.id"), "is required");
    wrong.require(!call.name.is_empty(), format!("{path}.name"), "is required");
    ToolCall { id: call.id, name: call.name, arguments_json: call.arguments_json }
}

fn part(part: pb::ContentPart, role: Role, path: &str, rules: DecodeRules<'_>, wrong: &mut Violations) -> Option<Part> {
    match part.part {
        None => {
            wrong.add(path, "must be text, image, file or refusal");
            None
        }
        Some(pb::content_part::Part::Text(text)) => Some(Part::Text(text)),
        Some(pb::content_part::Part::Refusal(text)) => {
            wrong.require(role == Role::Assistant, format!("{path}.refusal"), "belongs to ROLE_ASSISTANT only");
            Some(Part::Refusal(text))
        }
        Some(pb::content_part::Part::Image(one)) => {
            wrong.require(role == Role::User, format!("{path}.image"), "belongs to ROLE_USER only");
            image(one, &format!("{path}.image"), rules, wrong)
        }
        Some(pb::content_part::Part::File(one)) => {
            wrong.require(role == Role::User, format!("{path}.file"), "belongs to ROLE_USER only");
            Some(file(one, &format!("{path}.file"), wrong))
        }
    }
}

fn image(image: pb::ImagePart, path: &str, rules: DecodeRules<'_>, wrong: &mut Violations) -> Option<Part> {
    let detail = match known(image.detail, format!("{path}.detail"), wrong)? {
        pb::ImageDetail::Unspecified => None,
        pb::ImageDetail::Auto => Some(ImageDetail::Auto),
        pb::ImageDetail::Low => Some(ImageDetail::Low),
        pb::ImageDetail::High => Some(ImageDetail::High),
    };
    let source = match image.source {
        None => {
            wrong.add(path, "must have uri or inline");
            return None;
        }
        Some(pb::image_part::Source::Uri(uri)) => {
            wrong.require(
                rules.image_uris,
                format!("{path}.uri"),
                "this service does not let Azure fetch images; send the bytes inline",
            );
            wrong.require(uri.starts_with("https://"), format!("{path}.uri"), "must start with https://");
            ImageSource::Uri(uri)
        }
        Some(pb::image_part::Source::Inline(bytes)) => {
            let mime_type = image.mime_type;
            wrong.require(!bytes.is_empty(), format!("{path}.inline"), "must not be empty");
            wrong.require(
                IMAGE_TYPES.contains(&mime_type.as_str()),
                format!("{path}.mime_type"),
                format!("must be one of {}", IMAGE_TYPES.join(", ")),
            );
            ImageSource::Inline { mime_type, bytes }
        }
    };
    Some(Part::Image { source, detail })
}

fn file(file: pb::FilePart, path: &str, wrong: &mut Violations) -> Part {
    let pb::FilePart { inline: bytes, mime_type, name } = file;
    wrong.require(!bytes.is_empty(), format!("{path}.inline"), "must not be empty");
    wrong.require(mime_type == "application/pdf", format!("{path}.mime_type"), "must be application/pdf");
    wrong.require(
        (1..=LONGEST_FILE_NAME).contains(&name.chars().count()),
        format!("{path}.name"),
        format!("must be 1 to {LONGEST_FILE_NAME} characters"),
    );
    Part::File { mime_type, name, bytes }
}
