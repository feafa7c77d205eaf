---@meta
-- Written from the API table by a test; do not edit.

---@alias vid number a listener or segment; BADID is none

--- The last chance to send hints before the client runs; ACTIVATE goes out when the callback returns, unless it called suspend_target. On a listener it is only for information.
---@class status_preroll
---@field kind "preroll"
---@field segkind string what the segment is: `application`, `tui`, `network-server`, …
---@field source_audio number audio id; always 0 here

--- What the segment is. May come again with a new title; the kind stays.
---@class status_registered
---@field kind "registered"
---@field segkind string what the segment is: `application`, `tui`, `network-server`, …
---@field title string at most 63 bytes, chosen by the peer
---@field guid string 24 characters of base64, chosen by the peer, for remembering settings
---@field frame number the client's frame that the event belongs to, or 0

--- The segment or listener is gone; nothing follows for it. Its vid stays until delete_image.
---@class status_terminated
---@field kind "terminated"
---@field last_words string why, at most 31 bytes, may be empty

--- Where the client runs; follows preroll.
---@class status_privdrop
---@field kind "privdrop"
---@field external boolean started outside of this host's reach; not told by the peer, so false
---@field sandboxed boolean known to be sandboxed; false
---@field networked boolean comes over the network; true

--- On a listener: a peer has proved its key. On a segment: the client asks for another one. accept_target in this callback says yes; returning without it, or an error, says no.
---@class status_segment_request
---@field kind "segment_request"
---@field segkind string what is asked for; `handover` on a listener
---@field width number wanted pixels; 0 on a listener
---@field height number wanted pixels; 0 on a listener
---@field reqid number the asker's number for the request
---@field xofs number offset from the parent, pixels
---@field yofs number offset from the parent, pixels
---@field parent number cookie (not vid) of the segment or listener that asks
---@field split? string `left`, `right`, `top`, `bottom`: split the parent, new segment on that side
---@field position? string `left`, `right`, `top`, `bottom`, `tab`, `embed`, `swallow`
---@field frame number the client's frame that the event belongs to, or 0
---@field a12_pubk? string listener: the peer's public key, base64; proved
---@field a12_tags? string listener: the names that the key is accepted for, comma-separated
---@field a12_endpoint? string listener: where the peer connects from
---@field a12_new? boolean listener: the key came in by a window just now
---@field protocol? string listener: what the peer speaks, `a12`, `zmtp` or `curvecp`
---@field anonymous? boolean listener: nobody knows the peer; it came in because the listener takes such
---@field zmtp_socket_type? string listener, ZeroMQ: the type of the peer's socket in lower case; not every peer says
---@field zmtp_identity? string listener, ZeroMQ: the identity that the peer has chosen, any bytes
---@field properties? table<string, string> listener, ZeroMQ: what else the peer tells of itself

--- Something did not work; the segment or listener goes on.
---@class status_failure
---@field kind "failure"
---@field message string what; may be empty
---@field frame number the client's frame that the event belongs to, or 0

--- A window for unknown keys of the listener's name has changed.
---@class status_window
---@field kind "window"
---@field event string `opened`, `resumed`, `enrolled`, `spent`, `expired`, `closed`, `guessed`, or `failed`: not done, as the script asked; a `failure` says why
---@field left number how many keys it still lets in
---@field id string its number, sixteen hex digits
---@field label? string what it is called

--- A connection of moonport.connect is up: the server has taken us.
---@class status_connected
---@field kind "connected"

--- A connection of moonport.connect is gone, or could not be made; it is tried again by itself. What was under way is lost. Messages that have waited stay; of a stream nothing does, and the next `connected` begins another.
---@class status_disconnected
---@field kind "disconnected"
---@field message string why
---@field retry_ms number when it is tried again, milliseconds

--- The picture's size or kind; before the first frame and at each change.
---@class status_resized
---@field kind "resized"
---@field width number pixels, 1..8192
---@field height number pixels, 1..8192
---@field origo_ll boolean the origin is the lower left corner
---@field mirrored boolean the origin is the lower left corner
---@field tpack boolean the content is text
---@field source_audio number audio id; always 0 here

--- A frame has come; only with TARGET_VERBOSE, and after `resized`. Pixels are not decoded.
---@class status_frame
---@field kind "frame"
---@field pts number milliseconds; 0, as a12 does not say
---@field number number as the client counts
---@field x number left side of the changed region, pixels
---@field y number upper side of the changed region, pixels
---@field width number of the changed region, pixels
---@field height number of the changed region, pixels

--- Where the segment wants to be.
---@class status_viewport
---@field kind "viewport"
---@field invisible boolean not to be seen
---@field focus boolean wants the focus
---@field anchor_edge boolean anchored to an edge
---@field anchor_pos boolean anchored to a position
---@field embedded boolean to be shown inside its parent
---@field scaled boolean embedded: may be scaled
---@field hintfwd boolean embedded: wants hints about the presented size
---@field rel_order number stacking relative to the parent, -128..127
---@field rel_x number pixels from the parent's upper left
---@field rel_y number pixels from the parent's upper left
---@field anchor_w number anchor region, pixels
---@field anch_w number anchor region, pixels
---@field anchor_h number anchor region, pixels
---@field anch_h number anchor region, pixels
---@field edge number 0 free, 1 UL, 2 UC, 3 UR, 4 CL, 5 C, 6 CR, 7 LL, 8 LC, 9 LR
---@field ext_id number external id
---@field parent number cookie of the parent, 0 none
---@field border number[] top, left, right, bottom, pixels
---@field frame number the client's frame that the event belongs to, or 0

--- What part of the content is seen.
---@class status_content_state
---@field kind "content_state"
---@field rel_x number 0..1, negative: unknown
---@field rel_y number 0..1, negative: unknown
---@field wnd_w number size of the whole
---@field wnd_h number size of the whole
---@field x_size number 0..1
---@field y_size number 0..1
---@field cell_w number text cell, pixels
---@field cell_h number text cell, pixels
---@field min_w number smallest useful size, pixels
---@field min_h number smallest useful size, pixels
---@field max_w number largest useful size, pixels
---@field max_h number largest useful size, pixels
---@field frame number the client's frame that the event belongs to, or 0

--- The cursor's shape.
---@class status_cursorhint
---@field kind "cursorhint"
---@field cursor string such as `default`, `hidden`, `zoom-in`, `input:x:y`
---@field frame number the client's frame that the event belongs to, or 0

--- Free text, or a message of parts.
---@class status_message
---@field kind "message"
---@field message string at most 77 bytes of text, none if they were cut inside a character; of a message of parts, the first one, of any size and content
---@field multipart boolean the text goes on in the next status of this kind
---@field frame number the client's frame that the event belongs to, or 0
---@field parts? string[] all parts of a message of parts
---@field text? string with the last status of a text, `multipart` false: the whole of it, up to 65536 bytes
---@field note? string why there is no `text`, where there should be

--- The next bytes of the client's stream, cut anywhere.
---@class status_data
---@field kind "data"
---@field data? string any bytes; absent once moonport.stream was called: they are for its `read`

--- The client's stream is complete. Ours goes on until moonport.finish; when both are, `terminated` follows.
---@class status_eof
---@field kind "eof"
---@field failed boolean the client says that something went wrong at its side

--- There is room again for what moonport.write did not take.
---@class status_drain
---@field kind "drain"

--- The program of moonport.exec has ended, and its client has what it said. What the client says from here on is for the script.
---@class status_exited
---@field kind "exited"
---@field failed boolean it did not end with code 0; without code and signal: it was not started, and the log says why
---@field code? number its exit code
---@field signal? number the signal that has ended it

--- To a callback of moonport.keys, as its only argument: what was asked for is done, or why it is not.
---@class status_keys
---@field kind "keys"
---@field ok boolean it is done, and on the disk
---@field message? string why it is not done
---@field keys? key_state[] those that moonport.keys.list was asked for

--- Asks for attention.
---@class status_alert
---@field kind "alert"
---@field message string empty: look at me; a URI: open this
---@field multipart boolean the text goes on in the next status of this kind
---@field frame number the client's frame that the event belongs to, or 0

--- The content's identity has changed.
---@class status_ident
---@field kind "ident"
---@field message string what is shown now
---@field frame number the client's frame that the event belongs to, or 0

--- One of the client's options; target_coreopt sets it.
---@class status_coreopt
---@field kind "coreopt"
---@field slot number which option, 0..255
---@field type string `key`, `description`, `value` (an allowed one) or `current`
---@field argument string the key, description or value
---@field frame number the client's frame that the event belongs to, or 0

--- What the client can transfer, or wants to now.
---@class status_bchunkstate
---@field kind "bchunkstate"
---@field input boolean the client wants to read
---@field hint boolean true: a standing capability; false: its user asks now
---@field stream boolean need not be seekable
---@field wildcard boolean any type will do
---@field multipart boolean more follows
---@field cursor boolean goes with the cursor
---@field disable boolean withdrawn
---@field size number bytes, estimated
---@field extensions? string separated by `;`; absent when withdrawn
---@field frame number the client's frame that the event belongs to, or 0

--- How large a saved state would be.
---@class status_state_size
---@field kind "state_size"
---@field state_size number bytes; 0: has no state to save
---@field typeid number what kind of state
---@field frame number the client's frame that the event belongs to, or 0

--- A track that can be chosen.
---@class status_streaminfo
---@field kind "streaminfo"
---@field lang string three letters
---@field streamid number 0..255
---@field type string `audio`, `video`, `text`, `overlay` or `broken`
---@field frame number the client's frame that the event belongs to, or 0

--- Where a stream stands.
---@class status_streamstatus
---@field kind "streamstatus"
---@field ctime string position
---@field endtime string length
---@field completion number 0..1, negative: error
---@field frameno number frame number
---@field streaming number 1: live source, else 0
---@field frame number the client's frame that the event belongs to, or 0

--- An input the client knows by name.
---@class status_input_label
---@field kind "input_label"
---@field labelhint string the name; empty: forget all names
---@field description string for people
---@field datatype string `analog`, `digital`, `translated`, `touch` or `eyes`
---@field initial number suggested keysym, or 0
---@field modifiers number suggested modifiers
---@field vsym string a character as icon
---@field frame number the client's frame that the event belongs to, or 0

--- The client wants no input of some kinds; target_input drops those.
---@class status_mask_input
---@field kind "mask_input"
---@field frame number the client's frame that the event belongs to, or 0

--- An event that has no kind of its own.
---@class status_unknown
---@field kind "unknown"
---@field kind_num number its number
---@field frame number the client's frame that the event belongs to, or 0

---@alias status status_preroll|status_registered|status_terminated|status_privdrop|status_segment_request|status_failure|status_window|status_connected|status_disconnected|status_resized|status_frame|status_viewport|status_content_state|status_cursorhint|status_message|status_data|status_eof|status_drain|status_exited|status_keys|status_alert|status_ident|status_coreopt|status_bchunkstate|status_state_size|status_streaminfo|status_streamstatus|status_input_label|status_mask_input|status_unknown
---@alias callback fun(source: vid, status: status)

---@class listen_window
---@field count number how many keys it lets in
---@field for_s? number how long, in seconds; ten minutes
---@field secret? string its secret, if `secret` is for everybody
---@field without_secret? boolean there is none: lets in whoever comes; for protocols whose clients have no field for one

---@class listen_options
---@field name? string the scope in which keys are accepted; `default`
---@field protocol? string `a12` (the default), `zmtp` or `curvecp`
---@field interface? string address or interface; all
---@field port? number 0..65535; 0 is the protocol's own
---@field secret? string required of every client; with `window`, of unknown keys only
---@field window? listen_window lets unknown keys in that know the secret
---@field options? zmtp_options|curvecp_options of the protocol; a12 has none
---@field callback? callback if it is not the second argument

---@class connect_options
---@field address string `zmtp://KEY@HOST:PORT` or `curvecp://KEY@HOST:PORT/NAME`; KEY is the server's, in any spelling of keys
---@field key? string the server's key, if it does not stand in the address
---@field options? zmtp_options|curvecp_client_options of our socket, whose default type is `dealer`; or of the CurveCP server
---@field callback? callback if it is not the second argument

---@class zmtp_options
---@field socket_type? string what our socket is for: `router` (the default), `rep`, `pull`, `pub`, `sub`, `push`, `pair`, `xpub`, `xsub`, `dealer` or `req`
---@field identity? string what clients hear as our identity
---@field properties? table<string, string> what else clients hear of us; names that begin with `X-` are free
---@field topics? string[] `sub` and `xsub`: beginnings of messages that are wanted; the default is all
---@field heartbeat_ms? number how often a client is asked for a sign of life; never
---@field heartbeat_timeout_ms? number how long it may then be silent; as heartbeat_ms
---@field heartbeat_ttl_ms? number how long clients may wait for ours; not told
---@field max_message? number the largest message, all parts together, in bytes; a mebibyte
---@field max_parts? number the most parts of a message; 64
---@field high_water? number how many messages may wait for one client; 1000
---@field keyless? boolean takes clients without a key, too; only on addresses of this machine

---@class curvecp_options
---@field server_name? string the name that clients have to ask for, dotted; the listener's
---@field extension? string tells servers apart that share an address: 32 hex digits; zeros
---@field idle_s? number after so many seconds without a packet a client is gone; 300
---@field anonymous? boolean lets unknown keys in, too, without enrolling them

---@class curvecp_client_options
---@field server_name? string the name by which the server goes, dotted, if it does not stand in the address; none
---@field extension? string the server's extension: 32 hex digits; zeros
---@field own_extension? string ours: 32 hex digits; what is in /etc/curvecpextension, else zeros
---@field idle_s? number after so many seconds without a packet the connection is gone; 300

---@class stream
---@field vid vid the client
---@field read? fun(self: stream, most?: number|"line"): string as moonport.read
---@field lines? fun(self: stream): fun(): string each line that has come, as `for line in s:lines() do`
---@field write fun(self: stream, bytes: string): number|false as moonport.write
---@field finish fun(self: stream, failed?: boolean) as moonport.finish
---@field close fun(self: stream) ends the client, as delete_image, if it lives; what was written still arrives

---@class segment
---@field vid vid what it stands for, as other functions take it

---@class peer
---@field session number the host's number for the connection, as in `moonport key sessions`; no other one has it
---@field name string the name for which it was let in
---@field key? string its public key, base64; proved; nil: the listener takes clients without one
---@field endpoint string its address and port

---@class window_options
---@field listener vid for whose name
---@field secret? string 1 to 31 bytes; one that nobody can guess is made up
---@field count? number how many keys it lets in; 1
---@field for_s? number how long, in seconds; ten minutes
---@field label? string what to call it; at most 128 bytes
---@field without_secret? boolean nobody has to know a secret: for protocols whose clients have no field for one, as zmtp and curvecp

---@class window
---@field id string its number, sixteen hex digits
---@field name string for which name it is
---@field secret? string if it was made up

---@class window_state
---@field id string its number, sixteen hex digits
---@field label? string what it is called
---@field open boolean it has not ended
---@field left number how many keys it still lets in
---@field enrolled number how many it has let in
---@field ends_in_s number seconds until its time is over; 0 if it has ended

---@class exec_options
---@field framing? string zmtp: `line` (the default), each message is a line; or `length`, each part stands behind its length, four bytes, the highest first, with the highest bit set if another part follows

---@class key_state
---@field key string the key, base64
---@field label? string what it is called
---@field standing string `accepted`, or `disabled` for the time being
---@field expires? number from when on it is not accepted, seconds since 1970
---@field elsewhere boolean it is accepted for other names, too

--- no vid
BADID = 0
--- the canvas; there is none here
WORLDID = -1
--- for valid_vid: a live listener or segment
TYPE_FRAMESERVER = 3
--- for valid_vid: never here
TYPE_3DOBJECT = 6
--- for shutdown
EXIT_SUCCESS = 0
--- for shutdown
EXIT_FAILURE = 1
--- for shutdown: clients are not told to exit
EXIT_SILENT = 256
--- milliseconds per tick
CLOCKRATE = 25
--- the current tick
CLOCK = 0
--- way to discover
DISCOVER_PASSIVE = 1
--- way to discover
DISCOVER_SWEEP = 2
--- way to discover
DISCOVER_BROADCAST = 3
--- way to discover
DISCOVER_DIRECTORY = 4
--- way to discover
DISCOVER_TEST = 8
--- trust when discovering
TRUST_KNOWN = 11
--- trust when discovering
TRUST_PERMIT_UNKNOWN = 12
--- trust when discovering
TRUST_TRANSITIVE = 13
--- flag of target_flags; taken, without effect
TARGET_SYNCHRONOUS = 1
--- flag of target_flags; taken, without effect
TARGET_NOALPHA = 2
--- flag of target_flags: tell of frames
TARGET_VERBOSE = 3
--- flag of target_flags; taken, without effect
TARGET_VSTORE_SYNCH = 4
--- flag of target_flags; taken, without effect
TARGET_AUTOCLOCK = 5
--- flag of target_flags; taken, without effect
TARGET_NOBUFFERPASS = 6
--- flag of target_flags; taken, without effect
TARGET_ALLOWCM = 7
--- flag of target_flags; taken, without effect
TARGET_ALLOWHDR = 8
--- flag of target_flags; taken, without effect
TARGET_ALLOWINPUT = 9
--- flag of target_flags; taken, without effect
TARGET_ALLOWGPU = 10
--- flag of target_flags: no larger pictures
TARGET_LIMITSIZE = 11
--- flag of target_flags; taken, without effect
TARGET_SYNCHSIZE = 12
--- flag of target_flags: close it when the script starts again
TARGET_BLOCKADOPT = 13
--- flag of target_flags; taken, without effect
TARGET_DRAINQUEUE = 14
--- no flag: target_flags refuses it
TARGET_ALLOWLODEF = 0
--- no flag: target_flags refuses it
TARGET_ALLOWVECTOR = 0
--- target_displayhint: a resize by hand goes on
TD_HINT_CONTINUED = 1
--- target_displayhint: not seen
TD_HINT_INVISIBLE = 2
--- target_displayhint: without focus
TD_HINT_UNFOCUSED = 4
--- target_displayhint: maximized
TD_HINT_MAXIMIZED = 8
--- target_displayhint: fullscreen
TD_HINT_FULLSCREEN = 16
--- target_displayhint: detached
TD_HINT_DETACHED = 32
--- target_displayhint: flags stay as they are
TD_HINT_IGNORE = 128
--- target_seek: from where it is
SEEK_RELATIVE = 1
--- target_seek: to a place
SEEK_ABSOLUTE = 0
--- target_seek: in time
SEEK_TIME = 1
--- target_seek: in content
SEEK_SPACE = 0
--- namespace: temporary files
APPL_TEMP_RESOURCE = 1
--- namespace: the script's folder
APPL_RESOURCE = 2
--- namespace: shared files
SHARED_RESOURCE = 4
--- namespace: state
APPL_STATE_RESOURCE = 8
--- namespace: all scripts
SYS_APPL_RESOURCE = 16
--- namespace: fonts
SYS_FONT_RESOURCE = 128
--- namespace: system scripts
SYS_SCRIPT_RESOURCE = 2048
--- namespaces: temporary, script, shared, user
ALL_RESOURCES = 4103
--- picture format
FORMAT_PNG = 0
--- picture format
FORMAT_PNG_FLIP = 1
--- picture format
FORMAT_RAW8 = 2
--- picture format
FORMAT_RAW24 = 3
--- picture format
FORMAT_RAW32 = 4
--- the widest segment, pixels
MAX_TARGETW = 8192
--- the highest segment, pixels
MAX_TARGETH = 8192
--- way to launch
LAUNCH_EXTERNAL = 0
--- way to launch
LAUNCH_INTERNAL = 1
--- kind of device
DEVICE_INDIRECT = 1
--- kind of device
DEVICE_DIRECT = 2
--- kind of device
DEVICE_LOST = 3
--- kind of anchor hint
ANCHORHINT_SEGMENT = 10
--- kind of anchor hint
ANCHORHINT_EXTERNAL = 11
--- kind of anchor hint
ANCHORHINT_PROXY = 12
--- kind of anchor hint
ANCHORHINT_PROXY_EXTERNAL = 13
--- mouse button
MOUSE_BTNLEFT = 1
--- mouse button
MOUSE_BTNMIDDLE = 2
--- mouse button
MOUSE_BTNRIGHT = 3
--- version of Arcan's API that this one follows
API_VERSION_MAJOR = 0
--- version of Arcan's API that this one follows
API_VERSION_MINOR = 13
--- which program runs the script
API_ENGINE_BUILD = "moonport-0.1.0"
--- kinds of frameserver there are
FRAMESERVER_MODES = "net"
--- debug level
DEBUGLEVEL = 0
--- width of the imagined canvas, pixels
VRESW = 1024
--- height of the imagined canvas, pixels
VRESH = 768
--- its density, pixels per centimetre
HPPCM = 38.4
--- its density, pixels per centimetre
VPPCM = 38.4
--- millimetres per point
FONT_PT_SZ = 0.352778
--- the appl's name
APPLID = ""

moonport = {}
moonport.base32 = {}
moonport.base64 = {}
moonport.json = {}
moonport.keys = {}
util = {}
--- null, as moonport.json has it
---@type any
moonport.json.null = nil
--- What goes from a running program to the one that takes its place: numbers, strings, booleans, and tables of them. While a program is loaded it is empty; docs/reload.md says more.
---@type table
moonport.state = {}

---@class segment
local segment = {}

---@class timer
local timer = {}

--- Listens for clients. `name` ([A-Za-z0-9_-]{1,30}, else `default`) is the scope in which a client's key must be accepted; it is no address. `interface` is `[scheme://]` and an address, an interface's name or nothing for all; port 0 is the protocol's own (6680 for a12). Each client that has proved its key comes as a `segment_request`, which accept_target in the callback takes; returning without it turns the client away. Deleting the vid closes the listening socket; clients stay. In a task no callback is needed: moonport.segment(vid):accept() waits for clients.
---
--- No callback, a bad name or a port that is not 0..65535 is fatal. An address that cannot be had is told as `terminated`.
---@param callback? callback
---@return vid # the listener, or BADID if there are too many
---@overload fun(name: string, callback?: callback): vid
---@overload fun(name: string, interface: string, callback?: callback): vid
---@overload fun(name: string, interface?: string, port?: number, callback?: callback): vid
function net_listen(callback) end

--- net_listen with named options; see listen_options. The callback is the second argument or the option `callback`.
---
--- An unknown option is a Lua error that names the nearest one; the rest is as for net_listen.
---@param options listen_options
---@param callback? callback
---@return vid # the listener, or BADID if there are too many
---@overload fun(options: listen_options): vid
function moonport.listen(options, callback) end

--- Opens a window for the name of a listener; see window_options. Unknown keys that know its secret are let in, beside those that the listener takes already. What becomes of it is told to the listener as `window` with its `id`.
---
--- No live listener and unknown options are Lua errors. A window that cannot be opened is told as `failed`.
---@param options window_options
---@return window # its number and, if it was made up, its secret
function moonport.window(options) end

--- The windows of a listener's name, whoever opened them: open ones, and ended ones for a day. Secrets are not told.
---
--- A vid that is no live listener has none.
---@param listener vid
---@return window_state[] # in the order in which they were opened
function moonport.windows(listener) end

--- Closes a window of a listener's name, whoever opened it. Those that it has let in stay. It is told as `closed`, unless it was closed before it was told as `opened`.
---
--- A vid that is no live listener and an id that cannot be one: false. One that is no window of the name is told as `failed`.
---@param listener vid
---@param id string
---@return boolean # whether it was asked for
function moonport.close_window(listener, id) end

--- Accepts the request that the running callback was called with. The client is taken when that callback returns; if it fails, the request is refused all the same. The size is for display servers and has no effect here.
---
--- Outside a `segment_request` callback, or a second time in one, it is fatal. After delete_image of the asker it returns BADID.
---@param callback? callback
---@return vid # the new segment, or BADID
---@return number # its audio id, always 0
---@return number # its cookie
---@overload fun(width?: number, height?: number, callback?: callback): vid, number, number
function accept_target(callback) end

--- Sends text to a client, in as many messages as it needs, which status.text has whole at the other end; up to 65536 bytes go as a whole or not at all, of a longer text goes what fits the client's queue. To a client with a stream, as moonport.write. To a listener, `num:secret` sets the secret that every client needs, and lets `num` unknown keys in that know it; a mistake in it comes back as `failure`.
---
--- Text that is not UTF-8, and vids that are no live segment: -1.
---@param vid vid
---@param text string
---@return number # 0; -1: not sent; else how many bytes did not fit the client's queue
---@overload fun(text: string, vid: vid): number
function message_target(vid, text) end

--- Tells a client how large it is shown and how. 0, 0: only the flags have changed. Many clients draw nothing before the first one: send it in `preroll`. `ref` is WORLDID, another segment's vid, or a table with `ppcm`, `subpixel_layout`, `width`, `height`, `refresh`, `min_width`, `min_height`.
---
--- A vid that is no live segment, or a negative size, is fatal. Sizes above 8192 are cut.
---@param vid vid
---@param width number
---@param height number
---@param flags? number default: TD_HINT_IGNORE
---@param ref? any
---@return number # width of the client's text cell, pixels, or 0
---@return number # its height, or 0
function target_displayhint(vid, width, height, flags, ref) end

--- Replaces a vid's callback; what is queued goes to the new one. Without a callback events are dropped and requests refused.
---
--- A vid that is no live listener or segment is fatal.
---@param vid vid
---@param callback? callback default: nil
function target_updatehandler(vid, callback) end

--- The segment that a subsegment belongs to; it may be dead. Clients have no parent.
---
--- Any number is taken.
---@param vid vid
---@return vid # the parent, or BADID
function target_parent(vid) end

--- Asks a client to start over, gently or hard.
---
--- A vid that is no live segment gets a warning.
---@param vid vid
---@param hard? boolean default: false
function reset_target(vid, hard) end

--- Before a client is activated (in `preroll`): holds it back until resume_target. Later: asks it to pause and, unless `soft`, keeps its events until resume_target.
---
--- A vid that is no live segment gets a warning.
---@param vid vid
---@param soft? boolean default: false
function suspend_target(vid, soft) end

--- Undoes suspend_target.
---
--- A vid that is no live segment gets a warning.
---@param vid vid
---@param soft? boolean default: false
function resume_target(vid, soft) end

--- Sends a clock tick.
---
--- A vid that does not exist is fatal.
---@param vid vid
---@param count? number default: 1
---@param id? number default: 0
---@return boolean # whether it was sent
---@overload fun(vid: vid, count: number, sync: boolean): boolean
function stepframe_target(vid, count, id) end

--- Asks a client to seek: in time, `value` seconds; in content, `value` down and `x` right, steps if relative, else 0..1.
---
--- Vids that are no live segment are ignored.
---@param vid vid
---@param value number
---@param relative? boolean default: true
---@param time? boolean default: true
---@param x? number default: 0
---@param zoom? number default: 0
function target_seek(vid, value, relative, time, x, zoom) end

--- Sets an option that the client has announced with `coreopt`; the value has at most 77 bytes.
---
--- Vids that are no live segment are ignored.
---@param vid vid
---@param slot number
---@param value string
function target_coreopt(vid, slot, value) end

--- Sets a colour of the client's palette, 0..255 each; group 0 applies what was set.
---
--- Vids that are no live segment are ignored.
---@param vid vid
---@param group number
---@param r? number default: 0
---@param g? number default: 0
---@param b? number default: 0
function target_graphmode(vid, group, r, g, b) end

--- Tells a client the size of text in millimetres (not positive: unchanged) and the strength of hinting (-1: unchanged). Font files cannot be sent.
---
--- A vid that is no live segment is fatal.
---@param vid vid
---@param size_mm number
---@param hinting number
---@param append? boolean default: false
---@return boolean # whether it was sent
---@return number # width of the client's text cell, or 0
---@return number # its height, or 0
function target_fonthint(vid, size_mm, hinting, append) end

--- Ends what the vid stands for and forgets it; its callback is not called any more. A segment is closed, its subsegments follow. A listener stops listening, its clients stay.
---
--- A vid that does not exist is fatal: `if valid_vid(v) then delete_image(v) end`.
---@param vid vid
function delete_image(vid) end

--- Whether a vid exists; with TYPE_FRAMESERVER, whether it is alive.
---
--- Anything but a number is a Lua error.
---@param vid? vid default: nil
---@param type? number default: any
---@return boolean # whether it exists and is of the type
function valid_vid(vid, type) end

--- Who the client is that has this segment. It is known of clients that are adopted, too, and `session` is the same number then: by it, what a program keeps of a client in moonport.state is found again.
---@param vid vid
---@return peer? # nil: it is no client that came by a listener
function moonport.peer(vid) end

--- Connects to a server of ZeroMQ's with CURVE, or of CurveCP; see connect_options. The vid is there at once and hears `connected`, `disconnected` (it is tried again by itself) and `terminated` (over, refused, or not to be had); from ZeroMQ's `message`, from CurveCP's `data`, `eof` and `drain`. moonport.send sends messages; what is sent before it is up waits. moonport.write writes to a stream, which begins with `connected`: before that it takes nothing, and each `connected` is another stream. delete_image ends it. `moonport run --allow-connect` says what may be reached; the server knows us by the host key with the tag `client`.
---
--- An address that is none and unknown options are Lua errors. What may not be reached is told as `terminated`.
---@param options connect_options
---@param callback callback
---@return vid # the connection, or BADID if there are too many
---@overload fun(options: connect_options): vid
function moonport.connect(options, callback) end

--- Sends a message of parts, strings of any size and content, to a client that takes such, as those of ZeroMQ do. False: as many messages wait for it as its listener allows (`high_water`), or it has gone; the message is dropped.
---
--- A vid that is no such client, a socket that does not send (`pull`, `sub`), a message without parts or larger than `max_message`: a Lua error.
---@param vid vid
---@param parts table
---@return boolean # whether it was sent
---@overload fun(vid: vid, part: string, ...?: string): boolean
function moonport.send(vid, parts) end

--- Writes bytes, any of them, to a client with a stream, as those of CurveCP, or to a server that has one. A mebibyte waits for it at most: where less was taken than was given, `drain` tells when there is room again. False, too, if it has gone.
---
--- A vid that is no such client, or a stream that has been finished: a Lua error.
---@param vid vid
---@param bytes string
---@return number|false # how many bytes were taken, from the front; false: none
function moonport.write(vid, bytes) end

--- Our stream is complete: the client sees its end once it has all that was written. `failed` says that it ends since something went wrong. The client's stream goes on until its `eof`.
---
--- A vid that is no client with a stream, or a second time: a Lua error. One that has gone is ignored.
---@param vid vid
---@param failed? boolean default: false
function moonport.finish(vid, failed) end

--- Reads what has come of a client's stream since moonport.stream was called for it: so many bytes at most, or a `line`. It never waits. What is left when the stream ends is the last line; a line of more than 256 KiB comes in pieces.
---
--- A number below 0, or another text than `line`: a Lua error. Nil if the client has gone, or has no stream object.
---@param vid vid
---@param most? number default: all
---@return string? # bytes, none if nothing has come; nil: nothing follows
---@overload fun(vid: vid, what: string): string?
function moonport.read(vid, most) end

--- An object for a client's stream. From then on `data` only tells that something has come; it is kept until it is read, and a client whose bytes nobody reads is slowed down.
---
--- A vid that is no client with a stream: a Lua error.
---@param vid vid
---@return stream # the object
function moonport.stream(vid) end

--- Runs a function as a task, with the other arguments: a coroutine that can wait, by moonport.sleep, moonport.any and the methods of segments. It begins when the running callback returns or the running task waits, and before a request is answered. Until it has waited for something it belongs to the first segment among its arguments, or else to what has started it; then to what it has waited for last. An error in it has the effect of one in a callback of that segment or listener.
---
--- More than 10000 that wait to begin: a Lua error.
---@param fn function
---@param ...? any
function moonport.task(fn, ...) end

--- Waits so many milliseconds. Only in a task.
---
--- What is not 0 to a year, and more than 10000 timers: a Lua error.
---@param ms number
function moonport.sleep(ms) end

--- Waits for the first of several: the next status of a segment, the next client of a listener, which is accepted, or so many milliseconds. Only in a task.
---
--- What is neither a segment's object nor a number: a Lua error.
---@param ...? any
---@return segment? # which it was; nil: the time
---@return status|segment|string|nil # of a segment its status, of a listener the client, `timeout` of the time
---@return status|string|nil # of a listener the request; `terminated` or `deleted`
function moonport.any(...) end

--- The object of a segment or listener, with methods that wait. Once one of them was used, what comes for the vid is kept until a task waits for it, and the peer waits, too, when much is kept; a callback, if there is one, hears it at the same time. That ends when the script has let go of the object.
---
--- A vid that does not exist: a Lua error.
---@param vid vid
---@return segment # the object; the same one for the same vid
function moonport.segment(vid) end

--- Calls a function once, after so many milliseconds, counted from the time at which the script was told what it is at. An error in it is reported, and the script goes on, as for a clock pulse.
---
--- What is not 0 to a year, and more than 10000 timers: a Lua error.
---@param ms number
---@param fn function
---@return timer # cancels it: timer:cancel()
function moonport.after(ms, fn) end

--- Calls a function again and again, with so many milliseconds between; what could not be called in time is left out.
---
--- What is not 1 to a year, and more than 10000 timers: a Lua error.
---@param ms number
---@param fn function
---@return timer # cancels it: timer:cancel()
function moonport.every(ms, fn) end

--- Sends text, as message_target does; to a client that takes messages of parts, these, as moonport.send does.
---
--- As for these.
---@param parts table
---@return boolean # whether all of it was sent
---@overload fun(text: string, ...?: string): boolean
function segment:send(parts) end

--- Ends what the vid stands for, as delete_image, if it is not deleted already.
function segment:close() end

--- For `for status in client:events() do`: waits for one status after the other. The loop ends when the segment has terminated or is deleted.
---
--- In what is no task: a Lua error.
---@return fun(): status? # for a loop
function segment:events() end

--- Waits for the next status of a kind; others that come before are passed over. If the segment is deleted the task ends, as if by an error that nobody is told of.
---
--- In what is no task: a Lua error.
---@param kind? string default: any
---@param ms? number default: for ever
---@return status? # the status
---@return string? # without one: `timeout` or `terminated`
function segment:expect(kind, ms) end

--- Waits for the next request of a listener, or of a segment, and accepts it. An error before the task waits again denies it. If the vid is deleted the task ends, as if by an error that nobody is told of.
---
--- In what is no task: a Lua error.
---@return segment? # the client
---@return status|string # the request; without a client: `terminated`
function segment:accept() end

--- Ends what moonport.after or moonport.every has begun.
---@return boolean # whether it would still have come
function timer:cancel() end

--- Starts a program that talks with a client in the script's place: what the client says is its standard input, and what it writes goes to the client. `argv` is its absolute path and its arguments; see exec_options. It comes to an end with the client; if it ends before that, `exited` tells how. Where it is called in the callback of the client's `segment_request`, with what accept_target gave, the program hears the client from its first word on.
---
--- A program that `moonport run --allow-exec` does not name, a vid that is no client's first segment, a client with which a program talks, and more than 256 programs at once: a Lua error.
---@param vid vid
---@param argv string[]
---@param options? exec_options default: none
---@return boolean # whether it was asked for; false: the client has gone
function moonport.exec(vid, argv, options) end

--- Tells the callback the keys that are accepted for a name, also disabled and expired ones, as `keys` of its status.
---
--- A name that `moonport run --allow-keys` does not give, what is no key or name, and more than 64 calls that are not answered: a Lua error. What cannot be done is told to the callback.
---@param name string
---@param callback fun(status: status_keys)
function moonport.keys.list(name, callback) end

--- Accepts a key for a name, beside those for which it is accepted. Its callback is called, as those of all changes, with one argument, a status of kind `keys`, once that is on the disk.
---
--- A name that `moonport run --allow-keys` does not give, what is no key or name, and more than 64 calls that are not answered: a Lua error. What cannot be done is told to the callback.
---@param key string
---@param name string
---@param callback? fun(status: status_keys) default: none
---@overload fun(key: string, name: string, label: string, callback?: fun(status: status_keys))
function moonport.keys.accept(key, name, callback) end

--- Accepts a key no longer: for a name, or anywhere, which takes that all its names may be administered. Its clients are cut before the callback is called.
---
--- A name that `moonport run --allow-keys` does not give, what is no key or name, and more than 64 calls that are not answered: a Lua error. What cannot be done is told to the callback.
---@param key string
---@param callback? fun(status: status_keys) default: none
---@overload fun(key: string, name: string, callback?: fun(status: status_keys))
function moonport.keys.revoke(key, callback) end

--- Accepts a key nowhere, and lets no window bring it in again. All its names must be such that may be administered. Its clients are cut before the callback is called.
---
--- A name that `moonport run --allow-keys` does not give, what is no key or name, and more than 64 calls that are not answered: a Lua error. What cannot be done is told to the callback.
---@param key string
---@param callback? fun(status: status_keys) default: none
function moonport.keys.ban(key, callback) end

--- Accepts a key until then, seconds since 1970 as os.time() has them; without that, for ever. All its names must be such that may be administered.
---
--- A name that `moonport run --allow-keys` does not give, what is no key or name, and more than 64 calls that are not answered: a Lua error. What cannot be done is told to the callback.
---@param key string
---@param at number
---@param callback? fun(status: status_keys) default: none
---@overload fun(key: string, callback?: fun(status: status_keys))
function moonport.keys.expire(key, at, callback) end

--- Calls a key something, or nothing. All its names must be such that may be administered.
---
--- A name that `moonport run --allow-keys` does not give, what is no key or name, and more than 64 calls that are not answered: a Lua error. What cannot be done is told to the callback.
---@param key string
---@param label string
---@param callback? fun(status: status_keys) default: none
---@overload fun(key: string, callback?: fun(status: status_keys))
function moonport.keys.label(key, label, callback) end

--- Sets how a segment is dealt with. TARGET_VERBOSE: its frames come as `frame`. TARGET_BLOCKADOPT: it is closed, not offered to NAME_adopt, when the script starts again. TARGET_LIMITSIZE with `max_width` and `max_height` (pixels; 0: any), or with false: no `resized` and `frame` of a larger picture, but one `failure` for each size that is withheld. Arcan's other flags are taken and have no effect. An adopted segment begins without any.
---
--- An unknown flag is fatal, and so is TARGET_LIMITSIZE without a size, or a negative one; a vid that is no live segment gets a warning.
---@param vid vid
---@param flag number
---@param on? boolean default: true
---@overload fun(vid: vid, flag: number, max_width: number, max_height: number)
function target_flags(vid, flag, on) end

--- The same as target_flags with TARGET_VERBOSE.
---
--- A vid that is no live segment gets a warning.
---@param vid vid
---@param on? boolean default: true
function target_verbose(vid, on) end

--- The same as target_flags with TARGET_SYNCHRONOUS: no effect.
---
--- A vid that is no live segment gets a warning.
---@param vid vid
---@param on? boolean default: true
function target_synchronous(vid, on) end

--- Sends input to a client: a table as Arcan's input events are, with `kind` (or a flag `analog`, `digital`, `touch`, `eyes`), `devid`, `subid` and the fields of the kind. With text it is message_target; this is how a listener gets its `num:secret`.
---
--- Vids that are no live segment, events of no known kind and full queues: 0, which is true in Lua.
---@param vid vid
---@param event table
---@return number # 1: sent, or not wanted by the client; 0: not sent
---@overload fun(event: table, vid: vid): number
---@overload fun(vid: vid, text: string): number
---@overload fun(text: string, vid: vid): number
function target_input(vid, event) end

--- Sends input to a client: a table as Arcan's input events are, with `kind` (or a flag `analog`, `digital`, `touch`, `eyes`), `devid`, `subid` and the fields of the kind. With text it is message_target; this is how a listener gets its `num:secret`.
---
--- Vids that are no live segment, events of no known kind and full queues: 0, which is true in Lua.
---@param vid vid
---@param event table
---@return number # 1: sent, or not wanted by the client; 0: not sent
---@overload fun(event: table, vid: vid): number
---@overload fun(vid: vid, text: string): number
---@overload fun(text: string, vid: vid): number
function input_target(vid, event) end

--- Stores text under a key, or many at once, for this appl. On return it is on the disk.
---
--- A key is made of [A-Za-z0-9_+/=]; others get a warning and, one by one, false. There are no targets here: false.
---@param key string
---@param value string
---@param target? string default: none
---@param config? string default: none
---@return boolean # whether it is stored, durably
---@overload fun(pairs: table, target?: string, config?: string): boolean
function store_key(key, value, target, config) end

--- What is stored under a key.
---
--- A key that cannot be one gets a warning and nil.
---@param key string
---@param target? string default: none
---@param config? string default: none
---@return string? # the value, if there is one
function get_key(key, target, config) end

--- All pairs whose key matches a pattern, in which % is any text and _ any character.
---
--- A domain other than 0 is fatal.
---@param pattern string
---@param domain? number default: 0
---@return string[] # `key=value` each, sorted
function match_keys(pattern, domain) end

--- Ends the script: the running callback finishes, what is queued is dispatched, then NAME_shutdown runs. The message is said on the way out. EXIT_SILENT: clients see the connection break rather than a goodbye.
---
--- Control characters in the message are dropped; the code is 0..255.
---@param message? string default: nothing
---@param code? number default: EXIT_SUCCESS
function shutdown(message, code) end

--- Writes a message to standard error, with the appl's name, as a line of the host's log.
---
--- Control characters are dropped; nothing left: nothing written.
---@param message string
---@param always? boolean default: false
function warning(message, always) end

--- The words that were given to the script.
---@return string[] # the words after `--`
function appl_arguments() end

--- Which program runs the script.
---@return string # name and version
function system_identstr() end

--- What time it is.
---
--- Any other unit is fatal.
---@param unit? number default: 0
---@return number # 0: milliseconds, 1: seconds since 1970, -1: microseconds
function benchmark_timestamp(unit) end

--- Bytes as base64.
---@param bytes string
---@return string # base64
function util.to_base64(bytes) end

--- The bytes of base64.
---
--- Text that is not base64: nil.
---@param text string
---@return string? # the bytes, or nil if it is not base64
function util.from_base64(text) end

--- A quick hash, for tables, not for security.
---
--- A method other than `djb` is a Lua error.
---@param bytes string
---@param method? string default: "djb"
---@return number # 32 bits
function util.hash(bytes, method) end

--- A whole number that nobody can predict.
---
--- An empty interval, or bounds that are not whole, is a Lua error.
---@param low number
---@param high number
---@return number # a whole number from low, below high
function util.random_interval(low, high) end

--- Bytes that nobody can predict.
---
--- A count outside 0..1048576 is a Lua error.
---@param count number
---@return string # the bytes
function util.random_bytes(count) end

--- The SHA-256 of bytes.
---@param bytes string
---@param raw? boolean default: false
---@return string # 64 hex digits; raw: 32 bytes
function moonport.sha256(bytes, raw) end

--- The BLAKE3 hash of bytes.
---@param bytes string
---@param raw? boolean default: false
---@return string # 64 hex digits; raw: 32 bytes
function moonport.blake3(bytes, raw) end

--- Bytes as base64, with padding (RFC 4648, section 4).
---@param bytes string
---@return string # the text
function moonport.base64.encode(bytes) end

--- The bytes of base64.
---
--- Text that is not base64, or not padded: nil.
---@param text string
---@return string? # the bytes, or nil if it is none
function moonport.base64.decode(text) end

--- Bytes as base32, with padding (RFC 4648, section 6).
---@param bytes string
---@return string # the text
function moonport.base32.encode(bytes) end

--- The bytes of base32.
---
--- Text that is not base32, in lower case, or not padded: nil.
---@param text string
---@return string? # the bytes, or nil if it is none
function moonport.base32.decode(text) end

--- Compares bytes; how long that takes says nothing of where they differ. For secrets.
---@param a string
---@param b string
---@return boolean # whether they are the same
function moonport.equal(a, b) end

--- Bytes that nobody can predict.
---
--- A count outside 0..1048576 is a Lua error.
---@param count number
---@return string # the bytes
function moonport.random(count) end

--- A value as JSON. A table with the keys 1 to n is an array; one whose keys are all strings is an object, its keys in order; an empty one is an object, unless moonport.json.array has marked it. moonport.json.null is null, and so is nil.
---
--- Functions and the like, mixed keys, text that is not UTF-8, numbers that are not finite, more than 64 tables inside each other or 16 MiB of text: a Lua error that says where in the value.
---@param value? any default: nil
---@return string # the text, without spaces
function moonport.json.encode(value) end

--- The value of JSON. Arrays come as moonport.json.array marks them, null as moonport.json.null, numbers as Lua has them: whole ones are exact up to 2^53. Of a key that comes twice the last value counts.
---
--- Text that is not JSON, more than 64 arrays and objects inside each other or 16 MiB of text: a Lua error that says line and column.
---@param text string
---@return any # the value
function moonport.json.decode(text) end

--- Marks a table as an array, so that it is one in JSON even if it is empty.
---
--- A table that has a metatable: a Lua error.
---@param table? table default: {}
---@return table # the same table
function moonport.json.array(table) end
