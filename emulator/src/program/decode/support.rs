//! What is supported: the instructions that have decoders of their own, as the decoder itself looks them up, and the
//! page of the documentation that lists these and the forms.

/// The spellings of instructions that have a decoder of their own, by root. The modifiers that may stand at a place are in
/// braces, and `?` says that there may be none. What is not here is not decoded, except if it is a form.
pub(super) const SPELLINGS: &[&str] = &[
    "bra.{uni}?",
    "ret.{uni}?",
    "exit",
    "trap",
    "griddepcontrol.{wait,launch_dependents}",
    "nanosleep.u32",
    "pmevent.{mask}?",
    "activemask.b32",
    "bar.{cta}?.{sync,arrive}",
    "bar.{cta}?.red.popc.u32",
    "bar.{cta}?.red.{and,or}.pred",
    "bar.warp.sync",
    "barrier.{cta}?.{sync,arrive}.{aligned}?",
    "barrier.{cta}?.red.popc.{aligned}?.u32",
    "barrier.{cta}?.red.{and,or}.{aligned}?.pred",
    "membar.{cta,gl,sys}",
    "membar.proxy.alias",
    "fence.{sc,acq_rel,acquire,release}?.{cta,cluster,gpu,sys}",
    "fence.proxy.{alias,async,async.global,async.shared::cta,async.shared::cluster}",
    "fence.proxy.tensormap::generic.{acquire,release}.{cta,cluster,gpu,sys}",
    "fence.mbarrier_init.release.cluster",
    "shfl.sync.{up,down,bfly,idx}.b32",
    "vote.sync.{all,any,uni}.pred",
    "vote.sync.ballot.b32",
    "elect.sync",
    "match.{any,all}.sync.{b32,b64}",
    "redux.sync.{add,min,max}.{u32,s32}",
    "redux.sync.{and,or,xor}.b32",
    "ld.{weak,volatile}?.{const,global,local,param,param::entry,shared,shared::cta}?.{ca,cg,cs,lu,cv}?.{nc}?\
     .{L1::evict_normal,L1::evict_unchanged,L1::evict_first,L1::evict_last,L1::no_allocate}?\
     .{L2::evict_normal,L2::evict_first,L2::evict_last}?.{L2::cache_hint}?.{L2::64B,L2::128B,L2::256B}?.{v2,v4,v8}?\
     .{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f16,bf16,f32,f64}",
    "ld.{relaxed,acquire}.{cta,cluster,gpu,sys}.{global,shared,shared::cta,local}?\
     .{L1::evict_normal,L1::evict_unchanged,L1::evict_first,L1::evict_last,L1::no_allocate}?\
     .{L2::cache_hint}?.{L2::64B,L2::128B,L2::256B}?.{v2,v4,v8}?\
     .{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
    "ld.mmio.relaxed.sys.{global}?.{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
    "ldu.{global}?.{v2,v4}?.{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
    "st.{weak,volatile}?.{global,local,shared,shared::cta}?.{wb,cg,cs,wt}?\
     .{L1::evict_normal,L1::evict_unchanged,L1::evict_first,L1::evict_last,L1::no_allocate}?\
     .{L2::evict_normal,L2::evict_first,L2::evict_last}?.{L2::cache_hint}?.{v2,v4,v8}?\
     .{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f16,bf16,f32,f64}",
    "st.{relaxed,release}.{cta,cluster,gpu,sys}.{global,shared,shared::cta,local}?\
     .{L1::evict_normal,L1::evict_unchanged,L1::evict_first,L1::evict_last,L1::no_allocate}?.{L2::cache_hint}?\
     .{v2,v4,v8}?.{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
    "st.mmio.relaxed.sys.{global}?.{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?\
     .{add,min,max}.{L2::cache_hint}?.{u32,s32,u64,s64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?\
     .add.{L2::cache_hint}?.{f32,f64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?\
     .add.noftz.{L2::cache_hint}?.{f16,bf16,f16x2,bf16x2}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?\
     .{and,or,xor,exch}.{L2::cache_hint}?.{b32,b64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?\
     .{inc,dec}.{L2::cache_hint}?.u32",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?.cas.{b16,b32,b64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.f32.add",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{v2,v4,v8}.{f16,bf16}.{add,min,max}.noftz",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.{f16x2,bf16x2}.{add,min,max}.noftz",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.add.{L2::cache_hint}?.{v2,v4}.f32",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?\
     .{v2,v4,v8}.{f16,bf16}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?\
     .{v2,v4}.{f16x2,bf16x2}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?\
     .{add,min,max}.{L2::cache_hint}?.{u32,s32,u64,s64}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?.add.{L2::cache_hint}?.{f32,f64}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?\
     .add.noftz.{L2::cache_hint}?.{f16,bf16,f16x2,bf16x2}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?.{and,or,xor}.{L2::cache_hint}?.{b32,b64}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta}?.{inc,dec}.{L2::cache_hint}?.u32",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.f32.add",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{v2,v4,v8}.{f16,bf16}.{add,min,max}.noftz",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.{f16x2,bf16x2}.{add,min,max}.noftz",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.add.{L2::cache_hint}?.{v2,v4}.f32",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?.{v2,v4,v8}.{f16,bf16}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?.{v2,v4}.{f16x2,bf16x2}",
    "prefetch.{global,local}?.{L1,L2}",
    "prefetch.global.{L2::evict_last,L2::evict_normal}",
    "prefetchu.L1",
    "discard.{global}?.L2",
    "applypriority.{global}?.L2::evict_normal",
    "createpolicy.fractional.{L2::evict_last,L2::evict_normal,L2::evict_first,L2::evict_unchanged}\
     .{L2::evict_first,L2::evict_unchanged}?.b64",
    "createpolicy.range.{global}?.{L2::evict_last,L2::evict_normal,L2::evict_first,L2::evict_unchanged}\
     .{L2::evict_first,L2::evict_unchanged}?.b64",
    "createpolicy.cvt.L2.b64",
    "cp.async.{ca,cg}.{shared,shared::cta}.global.{L2::cache_hint}?.{L2::64B,L2::128B,L2::256B}?",
    "cp.async.commit_group",
    "cp.async.wait_group",
    "cp.async.wait_all",
    "ldmatrix.sync.aligned.m8n8.{x1,x2,x4}.{trans}?.{shared,shared::cta}?.b16",
    "stmatrix.sync.aligned.m8n8.{x1,x2,x4}.{trans}?.{shared,shared::cta}?.b16",
    "movmatrix.sync.aligned.m8n8.trans.b16",
    "mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f32.f16.f16.f32",
    "mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f16.f16.f16.f16",
    "mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f32.bf16.bf16.f32",
    "mma.sync.aligned.{m16n8k4,m16n8k8}.row.col.f32.tf32.tf32.f32",
    "mma.sync.aligned.{m16n8k16,m16n8k32}.row.col.f32.{e4m3,e5m2}.{e4m3,e5m2}.f32",
    "mma.sync.aligned.{m16n8k16,m16n8k32}.row.col.f16.{e4m3,e5m2}.{e4m3,e5m2}.f16",
    "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.{e4m3,e5m2}.{e4m3,e5m2}.f32",
    "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16.{e4m3,e5m2}.{e4m3,e5m2}.f16",
    "mma.sync.aligned.{m8n8k16,m16n8k16,m16n8k32}.row.col.{satfinite}?.s32.{u8,s8}.{u8,s8}.s32",
    "mma.sync.aligned.{m8n8k32,m16n8k32,m16n8k64}.row.col.{satfinite}?.s32.{u4,s4}.{u4,s4}.s32",
    "wmma.load.{a,b}.sync.aligned.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{global,shared,shared::cta}?\
     .{f16,bf16,s8,u8}",
    "wmma.load.{a,b}.sync.aligned.{row,col}.m16n16k8.{global,shared,shared::cta}?.tf32",
    "wmma.load.c.sync.aligned.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{global,shared,shared::cta}?.{f16,f32,s32}",
    "wmma.load.c.sync.aligned.{row,col}.m16n16k8.{global,shared,shared::cta}?.f32",
    "wmma.store.d.sync.aligned.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{global,shared,shared::cta}?.{f16,f32,s32}",
    "wmma.store.d.sync.aligned.{row,col}.m16n16k8.{global,shared,shared::cta}?.f32",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{f16,f32}.{f16,f32}",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.f32.bf16.bf16.f32",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.m16n16k8.f32.tf32.tf32.f32",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.s32.s8.s8.s32.{satfinite}?",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.s32.u8.u8.s32.{satfinite}?",
    "mov.{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}",
    "cvta.{to}?.{global,const,shared,local,param}.u64",
    "isspacep.{global,local,shared,shared::cta,param,param::entry}",
    "setp.{eq,ne,lt,le,gt,ge}.{and,or,xor}?.{u16,u32,u64,s16,s32,s64}",
    "setp.{lo,ls,hi,hs}.{and,or,xor}?.{u16,u32,u64}",
    "setp.{eq,ne}.{and,or,xor}?.{b16,b32,b64}",
    "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{ftz}?.f32",
    "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{f64,f16,bf16}",
    "set.{eq,ne,lt,le,gt,ge}.{and,or,xor}?.{u32,s32,f32}.{u16,u32,u64,s16,s32,s64}",
    "set.{lo,ls,hi,hs}.{and,or,xor}?.{u32,s32,f32}.{u16,u32,u64}",
    "set.{eq,ne}.{and,or,xor}?.{u32,s32,f32}.{b16,b32,b64}",
    "set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{ftz}?.{u32,s32,f32}.f32",
    "set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{u32,s32,f32}.{f64,f16,bf16}",
    "lop3.{or,and}.b32",
    "{vadd2,vsub2,vavrg2,vabsdiff2,vmin2,vmax2}.{u32,s32}.{u32,s32}.{u32,s32}.{sat,add}?",
    "{vadd4,vsub4,vavrg4,vabsdiff4,vmin4,vmax4}.{u32,s32}.{u32,s32}.{u32,s32}.{sat,add}?",
    "{add,addc,sub,subc}.{cc}?.{u32,s32,u64,s64}",
    "{mad,madc}.{lo,hi}.{cc}?.{u32,s32,u64,s64}",
];

/// Whether an instruction has a decoder of its own.
pub(super) fn supported(root: &str, modifiers: &[&str]) -> bool {
    SPELLINGS.iter().any(|spelling| {
        let mut places = Places(spelling);
        places.next().is_some_and(|(roots, _)| alternatives(roots).any(|name| name == root))
            && matches(places, modifiers)
    })
}

/// The places of a spelling: what may stand there, and whether something has to.
#[derive(Clone, Copy)]
struct Places<'a>(&'a str);

impl<'a> Iterator for Places<'a> {
    type Item = (&'a str, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.strip_prefix('.').unwrap_or(self.0);
        if rest.is_empty() {
            return None;
        }
        let end = match rest.strip_prefix('{') {
            Some(braced) => braced.find('}').map_or(rest.len(), |end| end + 2),
            None => rest.find('.').unwrap_or(rest.len()),
        };
        let (place, rest) = rest.split_at(end);
        let optional = rest.strip_prefix('?');
        self.0 = optional.unwrap_or(rest);
        Some((place, optional.is_some()))
    }
}

/// What may stand at a place.
fn alternatives(place: &str) -> impl Iterator<Item = &str> {
    place.trim_matches(|mark| mark == '{' || mark == '}').split(',')
}

fn matches(mut places: Places<'_>, modifiers: &[&str]) -> bool {
    let Some((place, optional)) = places.next() else { return modifiers.is_empty() };
    let here = alternatives(place).any(|words| {
        let length = words.split('.').count();
        modifiers.len() >= length
            && words.split('.').zip(modifiers).all(|(word, modifier)| word == *modifier)
            && matches(places, &modifiers[length..])
    });
    here || optional && matches(places, modifiers)
}
