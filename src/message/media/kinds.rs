//! The names by which media are known: of parts, of members, of files.

/// Types of parts that are media: OpenAI's, Anthropic's, Google's and those of frameworks.
const PARTS: [&str; 22] = [
    "audio",
    "audio_url",
    "container_upload",
    "document",
    "document_url",
    "file",
    "file_url",
    "image",
    "image_file",
    "image_url",
    "inline_data",
    "input_audio",
    "input_file",
    "input_image",
    "input_video",
    "media",
    "output_audio",
    "output_image",
    "pdf",
    "video",
    "video_file",
    "video_url",
];

/// Members of a message or a run that hold media: Agno's, and `audio` of OpenAI's answers.
const MEMBERS: [&str; 10] = [
    "images",
    "videos",
    "audio",
    "audios",
    "files",
    "audio_output",
    "image_output",
    "video_output",
    "file_output",
    "response_audio",
];

/// Types of parts in which a model calls a tool.
const CALLS: [&str; 6] = [
    "tool_use",
    "server_tool_use",
    "mcp_tool_use",
    "function_call",
    "tool_call",
    "custom_tool_call",
];

/// Extensions of files, which sources also give as a format, and their media types.
const EXTENSIONS: [(&str, &str); 34] = [
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("bmp", "image/bmp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("svg", "image/svg+xml"),
    ("avif", "image/avif"),
    ("heic", "image/heic"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mkv", "video/x-matroska"),
    ("avi", "video/x-msvideo"),
    ("pdf", "application/pdf"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
];

/// The media type of what nothing is known about.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Whether a part of this `type` is a medium.
pub(crate) fn is_media_part(kind: &str) -> bool {
    PARTS.contains(&kind)
}

/// Whether a member of this name holds media, if it holds anything.
pub(crate) fn is_media_member(name: &str) -> bool {
    MEMBERS.contains(&name)
}

/// Whether a list of texts under this name may well be something else: names of files.
pub(super) fn is_ambiguous(name: &str) -> bool {
    matches!(name, "files" | "file_output")
}

/// Whether a part of this `type` is a call, whose arguments are the model's own words.
pub(super) fn is_call(kind: &str) -> bool {
    CALLS.contains(&kind)
}

/// Whether a call holds its arguments in a member of this name.
pub(super) fn is_arguments(name: &str) -> bool {
    matches!(name, "input" | "arguments" | "args")
}

/// The media type of files with this extension, in any case.
pub(super) fn of_extension(extension: &str) -> Option<&'static str> {
    let found = EXTENSIONS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    found.map(|(_, media_type)| *media_type)
}
