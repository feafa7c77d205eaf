//! A status as the row of values that the shim makes a table of.

use data_encoding::BASE64;
use mlua::{Lua, LuaString, Result, Value};

use super::{DATATYPES, HANDOVER, Id, NETWORK_SERVER, Status, segkind};
use crate::ipc::Exit;
use crate::ipc::script::{KeyStatus, Request, WindowEvent};
use crate::script::text::masked;
use crate::script::world::Whole;
use crate::wire::a12::event::{
    BinaryState, Content, External, LabelHint, SegmentKind, SegmentRequest, Viewport,
};

/// A row under construction.
struct Row<'l> {
    lua: &'l Lua,
    values: Vec<Value>,
}

impl Row<'_> {
    fn text(self, text: &str) -> Result<Self> {
        let text = self.lua.create_string(text)?;
        Ok(self.string(text))
    }

    fn string(mut self, string: LuaString) -> Self {
        self.values.push(Value::String(string));
        self
    }

    fn number(mut self, number: impl Into<f64>) -> Self {
        self.values.push(Value::Number(number.into()));
        self
    }

    fn flag(mut self, flag: bool) -> Self {
        self.values.push(Value::Boolean(flag));
        self
    }

    fn absent(mut self) -> Self {
        self.values.push(Value::Nil);
        self
    }

    fn maybe(self, text: Option<&str>) -> Result<Self> {
        match text {
            Some(text) => self.text(text),
            None => Ok(self.absent()),
        }
    }

    /// The field `frame`, for events that belong to none.
    fn frame(self) -> Self {
        self.number(0)
    }

    fn done(self, id: Id) -> Result<(Id, Vec<Value>)> {
        Ok((id, self.values))
    }
}

impl Status {
    /// Which kind it is, without its row.
    pub(in crate::script) fn id(&self) -> Id {
        match self {
            Self::Preroll(_) => Id::Preroll,
            Self::Registered { .. } => Id::Registered,
            Self::Terminated(_) => Id::Terminated,
            Self::Privdrop => Id::Privdrop,
            Self::Peer { .. } => Id::SegmentRequest,
            Self::Failure(_) => Id::Failure,
            Self::Window { .. } => Id::Window,
            Self::Resized(_) => Id::Resized,
            Self::Frame(_) => Id::Frame,
            Self::Connected => Id::Connected,
            Self::Disconnected { .. } => Id::Disconnected,
            Self::Parts(_) => Id::Message,
            Self::Data(_) => Id::Data,
            Self::Eof { .. } => Id::Eof,
            Self::Drain => Id::Drain,
            Self::Exited(_) => Id::Exited,
            Self::Keys(_) => Id::Keys,
            Self::Said { event, .. } => said(event),
        }
    }

    /// The row, and which of [`super::KINDS`] it is for.
    pub(in crate::script) fn row(&self, lua: &Lua, vid: Value) -> Result<(Id, Vec<Value>)> {
        let mut values = Vec::with_capacity(16);
        values.push(vid);
        let row = Row { lua, values };
        match self {
            Self::Preroll(kind) => row.text(segkind(*kind))?.number(0).done(Id::Preroll),
            Self::Registered { kind, title, guid } => row
                .text(segkind(*kind))?
                .text(title)?
                .text(&base64(guid))?
                .frame()
                .done(Id::Registered),
            Self::Terminated(last_words) => row.text(last_words)?.done(Id::Terminated),
            Self::Privdrop => row.flag(false).flag(false).flag(true).done(Id::Privdrop),
            Self::Peer {
                request,
                id,
                parent,
            } => peer(row, request, *id, *parent),
            Self::Failure(message) => row.text(message)?.frame().done(Id::Failure),
            Self::Window {
                event,
                left,
                window,
                label,
            } => row
                .text(happened(*event))?
                .number(*left)
                .text(&window_id(*window))?
                .maybe(label.as_deref())?
                .done(Id::Window),
            Self::Connected => row.done(Id::Connected),
            Self::Disconnected { why, retry_ms } => {
                row.text(why)?.number(*retry_ms).done(Id::Disconnected)
            }
            Self::Parts(parts) => {
                let table = row.lua.create_table_with_capacity(parts.len(), 0)?;
                let mut first = None;
                for part in parts {
                    let part = row.lua.create_string(part)?;
                    table.raw_push(&part)?;
                    first.get_or_insert(part);
                }
                let mut row = row;
                row.values.push(first.map_or(Value::Nil, Value::String));
                row = row.flag(false).frame();
                row.values.push(Value::Table(table));
                row.absent().absent().done(Id::Message)
            }
            Self::Data(bytes) => {
                let mut row = row;
                let data = match bytes {
                    Some(bytes) => Value::String(row.lua.create_string(bytes)?),
                    None => Value::Nil,
                };
                row.values.push(data);
                row.done(Id::Data)
            }
            Self::Eof { failed } => row.flag(*failed).done(Id::Eof),
            Self::Drain => row.done(Id::Drain),
            Self::Exited(exit) => exited(row, *exit).done(Id::Exited),
            Self::Keys(answer) => keys(row, answer)?.done(Id::Keys),
            Self::Resized(size) => row
                .number(size.width)
                .number(size.height)
                .flag(size.origin_ll)
                .flag(size.text)
                .number(0)
                .done(Id::Resized),
            Self::Frame(frame) => {
                let ([x, y], [width, height]) = (frame.at, frame.region);
                row.number(0)
                    .number(frame.number)
                    .number(x)
                    .number(y)
                    .number(width)
                    .number(height)
                    .done(Id::Frame)
            }
            Self::Said {
                event,
                cookie,
                whole,
            } => external(row, event, *cookie, whole),
        }
    }
}

/// A window's number as scripts see it, who have no numbers of this size.
pub(in crate::script) fn window_id(number: u64) -> String {
    format!("{number:016x}")
}

fn happened(event: WindowEvent) -> &'static str {
    match event {
        WindowEvent::Opened => "opened",
        WindowEvent::Resumed => "resumed",
        WindowEvent::Enrolled => "enrolled",
        WindowEvent::Spent => "spent",
        WindowEvent::Expired => "expired",
        WindowEvent::Closed => "closed",
        WindowEvent::Guessed => "guessed",
        WindowEvent::Failed => "failed",
    }
}

fn exited(row: Row<'_>, exit: Exit) -> Row<'_> {
    let row = row.flag(exit.is_failure());
    match exit {
        Exit::Code(code) => row.number(code).absent(),
        Exit::Signal(signal) => row.absent().number(signal),
        Exit::NotStarted => row.absent().absent(),
    }
}

fn keys<'l>(row: Row<'l>, answer: &std::result::Result<Vec<KeyStatus>, String>) -> Result<Row<'l>> {
    let list = row.lua.create_table()?;
    for known in answer.iter().flatten() {
        let key = row.lua.create_table()?;
        key.raw_set("key", known.key.to_string())?;
        key.raw_set("label", known.label.as_deref())?;
        key.raw_set("standing", known.standing.as_str())?;
        key.raw_set("expires", known.expires_ms.map(|ms| ms as f64 / 1000.0))?;
        key.raw_set("elsewhere", known.elsewhere)?;
        list.raw_push(key)?;
    }
    let why = answer.as_ref().err().map(String::as_str);
    let mut row = row.flag(answer.is_ok()).maybe(why)?;
    row.values.push(match answer {
        Ok(_) => Value::Table(list),
        Err(_) => Value::Nil,
    });
    Ok(row)
}

fn base64(guid: &[u64; 2]) -> String {
    let bytes: Vec<u8> = guid.iter().flat_map(|half| half.to_le_bytes()).collect();
    BASE64.encode(&bytes)
}

fn peer(row: Row<'_>, request: &Request, id: u32, parent: u32) -> Result<(Id, Vec<Value>)> {
    let row = row
        .text(segkind(HANDOVER))?
        .number(0)
        .number(0)
        .number(id)
        .number(0)
        .number(0)
        .number(parent)
        .absent()
        .absent()
        .frame()
        .maybe(request.key.map(|key| key.to_string()).as_deref())?
        .text(&request.tags)?
        .text(&request.endpoint.to_string())?
        .flag(request.new)
        .text(request.scheme.name())?
        .flag(request.anonymous);
    let Some(zmtp) = &request.zmtp else {
        return row.absent().absent().absent().done(Id::SegmentRequest);
    };
    let properties = row.lua.create_table()?;
    for (name, value) in &zmtp.properties {
        properties.raw_set(name.as_str(), row.lua.create_string(value)?)?;
    }
    let identity = row.lua.create_string(&zmtp.identity)?;
    let socket = zmtp.socket_type.map(|kind| kind.to_string());
    let mut row = row.maybe(socket.as_deref())?;
    row.values.push(Value::String(identity));
    row.values.push(Value::Table(properties));
    row.done(Id::SegmentRequest)
}

fn said(event: &External) -> Id {
    match event {
        External::Message(_) | External::Fragment { .. } => Id::Message,
        External::CoreOption { .. } => Id::CoreOpt,
        External::Ident(_) => Id::Ident,
        External::Failure => Id::Failure,
        External::StreamInfo { .. } => Id::StreamInfo,
        External::StreamStatus { .. } => Id::StreamStatus,
        External::StateSize { .. } => Id::StateSize,
        External::SegmentRequest(_) => Id::SegmentRequest,
        External::CursorHint(_) => Id::CursorHint,
        External::Viewport(_) => Id::Viewport,
        External::Content(_) => Id::ContentState,
        External::LabelHint(_) => Id::InputLabel,
        External::Register { .. } => Id::Registered,
        External::Alert(_) => Id::Alert,
        External::BinaryState(_) => Id::BchunkState,
        External::InputMask { .. } => Id::MaskInput,
        External::FrameStatus { .. } | External::FlushAudio | External::ClockRequest { .. } => {
            Id::Unknown
        }
    }
}

fn external(
    row: Row<'_>,
    event: &External,
    cookie: u32,
    whole: &Whole,
) -> Result<(Id, Vec<Value>)> {
    let id = said(event);
    match event {
        External::Message(text) => {
            let message = row.lua.create_string(&text.text)?;
            let row = row.string(message.clone()).flag(text.multipart);
            let row = row.frame().absent();
            match whole {
                Whole::Itself => row.string(message).absent(),
                other => joined(row, other)?,
            }
        }
        External::Fragment { multipart, .. } => {
            let row = row.text("")?.flag(*multipart);
            joined(row.frame().absent(), whole)?
        }
        External::Alert(text) => row.text(&text.text)?.flag(text.multipart).frame(),
        External::Ident(text) => row.text(text)?.frame(),
        External::Failure => row.text("")?.frame(),
        External::CoreOption { index, kind, text } => row
            .number(*index)
            .text(match kind {
                0 => "key",
                1 => "description",
                2 => "value",
                _ => "current",
            })?
            .text(text)?
            .frame(),
        External::StreamInfo { id, kind, language } => row
            .text(language)?
            .number(*id)
            .text(match kind {
                0 => "audio",
                1 => "video",
                2 => "text",
                3 => "overlay",
                _ => "broken",
            })?
            .frame(),
        External::StreamStatus {
            time,
            limit,
            completion,
            streaming,
            frame,
            ..
        } => {
            let clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '_' | '-');
            row.text(&masked(time, clock))?
                .text(&masked(limit, clock))?
                .number(*completion)
                .number(*frame)
                .number(u8::from(*streaming))
                .frame()
        }
        External::StateSize { size, kind } => row.number(*size).number(*kind).frame(),
        External::SegmentRequest(request) => segment_request(row, request, cookie)?,
        External::CursorHint(name) => {
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ':' | '-');
            row.text(&masked(name, allowed))?.frame()
        }
        External::Viewport(viewport) => viewport_row(row, viewport),
        External::Content(content) => content_row(row, content),
        External::LabelHint(label) => label_row(row, label)?,
        External::BinaryState(state) => binary_row(row, state)?,
        External::InputMask { .. } => row.frame(),
        External::Register { title, kind, guid } => row
            .text(segkind(*kind))?
            .text(title)?
            .text(&base64(guid))?
            .frame(),
        External::FrameStatus { .. } => row.number(5).frame(),
        External::FlushAudio => row.number(9).frame(),
        External::ClockRequest { .. } => row.number(18).frame(),
    }
    .done(id)
}

fn joined<'l>(row: Row<'l>, whole: &Whole) -> Result<Row<'l>> {
    match whole {
        Whole::Part | Whole::Itself => Ok(row.absent().absent()),
        Whole::Text(text) => Ok(row.text(text)?.absent()),
        Whole::Lost(why) => row.absent().maybe(Some(why)),
    }
}

fn segment_request<'l>(row: Row<'l>, request: &SegmentRequest, parent: u32) -> Result<Row<'l>> {
    // A client cannot ask in the name of the network side.
    let kind = match request.kind {
        kind if kind == NETWORK_SERVER => SegmentKind(0),
        kind => kind,
    };
    let split = match request.direction {
        1 => Some("left"),
        2 => Some("right"),
        3 => Some("top"),
        4 => Some("bottom"),
        _ => None,
    };
    let position = match request.direction {
        5 => Some("left"),
        6 => Some("right"),
        7 => Some("top"),
        8 => Some("bottom"),
        9 => Some("tab"),
        10 => Some("embed"),
        11 => Some("swallow"),
        _ => None,
    };
    let row = row
        .text(segkind(kind))?
        .number(request.width)
        .number(request.height)
        .number(request.id)
        .number(request.x)
        .number(request.y)
        .number(parent)
        .maybe(split)?
        .maybe(position)?
        .frame();
    // What only a listener is told.
    Ok((0..9).fold(row, |row, _| row.absent()))
}

fn viewport_row<'l>(row: Row<'l>, viewport: &Viewport) -> Row<'l> {
    let row = row
        .flag(viewport.invisible)
        .flag(viewport.focus)
        .flag(viewport.anchor_edge)
        .flag(viewport.anchor_pos)
        .flag(viewport.embedded > 0)
        .flag(viewport.embedded == 2)
        .flag(viewport.embedded == 3)
        .number(viewport.order)
        .number(viewport.x)
        .number(viewport.y)
        .number(viewport.width)
        .number(viewport.height)
        .number(viewport.edge)
        .number(viewport.ext_id)
        .number(viewport.parent);
    let row = viewport
        .border
        .iter()
        .fold(row, |row, side| row.number(*side));
    // Frame counters stay far below 2^53.
    row.number(viewport.frame as f64)
}

fn content_row<'l>(row: Row<'l>, content: &Content) -> Row<'l> {
    let floats = [
        content.x_pos,
        content.y_pos,
        content.width,
        content.height,
        content.x_size,
        content.y_size,
    ];
    let row = floats.iter().fold(row, |row, &number| row.number(number));
    let row = content.cell.iter().fold(row, |row, &n| row.number(n));
    let row = content.min.iter().fold(row, |row, &n| row.number(n));
    let row = content.max.iter().fold(row, |row, &n| row.number(n));
    row.frame()
}

fn label_row<'l>(row: Row<'l>, label: &LabelHint) -> Result<Row<'l>> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let datatype = DATATYPES
        .iter()
        .find(|(_, number)| *number == u32::from(label.datatype))
        .map_or("", |(name, _)| name);
    Ok(row
        .text(&masked(&label.label, allowed))?
        .text(&label.description)?
        .text(datatype)?
        .number(label.initial)
        .number(label.modifiers)
        .text(&label.symbol)?
        .frame())
}

fn binary_row<'l>(row: Row<'l>, state: &BinaryState) -> Result<Row<'l>> {
    let cursor = state.hint & 8 != 0;
    let wildcard = state.hint & 2 != 0 || state.extensions == "*";
    let disable = state.extensions.is_empty() && !wildcard;
    let extensions: String = state
        .extensions
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ';' | '*'))
        .collect();
    row.flag(state.input)
        .flag(state.hint & 1 == 0 && !cursor)
        .flag(state.stream)
        .flag(wildcard)
        .flag(state.hint & 4 != 0)
        .flag(cursor)
        .flag(disable)
        // Sizes above 2^53 lose their last digits.
        .number(state.size as f64)
        .maybe((!disable).then_some(&extensions))
        .map(Row::frame)
}
